// Where files come from: picked, dropped, pasted, or taken with a camera.

import { find, sayError } from "./dom.js";

// Call `take` with the files of every source.
export function watchSources(take) {
  const given = (files) => files.length && take([...files]);
  for (const id of ["file", "shot"]) {
    find(id).addEventListener("change", ({ target }) => {
      given(target.files);
      target.value = ""; // the same file may be picked again
    });
  }
  document.addEventListener("paste", ({ clipboardData }) => given(clipboardData.files));
  watchDrops(given);
  watchCamera(given);
}

function watchDrops(given) {
  const { classList } = document.body;
  document.addEventListener("dragover", (event) => {
    event.preventDefault();
    classList.add("dropping");
  });
  document.addEventListener("dragleave", ({ relatedTarget }) => {
    if (!relatedTarget) classList.remove("dropping");
  });
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    classList.remove("dropping");
    given(event.dataTransfer.files);
  });
}

// A browser shows its camera only to pages from this machine or by https; elsewhere a telephone's
// own camera application is asked.
function watchCamera(given) {
  const [dialog, video] = [find("camera-view"), find("camera-picture")];
  const hasLive = Boolean(navigator.mediaDevices?.getUserMedia);
  find("camera").addEventListener("click", async () => {
    sayError(find("error"), null);
    if (!hasLive) return find("shot").click();
    try {
      video.srcObject = await navigator.mediaDevices.getUserMedia({
        video: { facingMode: "environment" },
      });
      dialog.showModal();
    } catch (error) {
      sayError(find("error"), new Error(`No camera: ${error.message}`));
    }
  });
  video.addEventListener("loadeddata", () => (find("take").disabled = false));
  find("take").addEventListener("click", async () => {
    given([await shotOf(video)]);
    dialog.close();
  });
  dialog.addEventListener("close", () => {
    video.srcObject.getTracks().forEach((track) => track.stop());
    video.srcObject = null;
    find("take").disabled = true;
  });
}

async function shotOf(video) {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
  canvas.getContext("2d").drawImage(video, 0, 0);
  const blob = await new Promise((done) => canvas.toBlob(done, "image/jpeg", 0.95));
  return new File([blob], "camera.jpg", { type: "image/jpeg" });
}
