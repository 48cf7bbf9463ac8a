// The same view from elsewhere: as a curl command and as Python.

import { byIndex, predictPath } from "./api.js";
import { keyHeader } from "./key.js";

const TYPE = "application/octet-stream";
const hasKey = () => "X-API-Key" in keyHeader();
const whole = (path) => new URL(path, document.baseURI).href;
const quoted = (text) => `'${text.replaceAll("'", `'\\''`)}'`;

// What the API is asked for to give one side of a view: its classes and its map.
function queryOf({ answer, layer }) {
  const { model, predictions, kind } = answer;
  const query = { model: model.name, version: model.version, top_k: predictions.length };
  if (layer.kind === "evidence") return { ...query, attribution: byIndex(layer.classes) };
  return { ...query, masks: layer.block, groups: layer.group, mask_kind: kind };
}

export function curlOf(side) {
  const { picture } = side.answer;
  const example = picture.isExample ? `curl -s ${quoted(whole("static/example.png"))} |\n  ` : "";
  return [
    `${example}curl -s --data-binary ${picture.isExample ? "@-" : quoted(`@${picture.name}`)}`,
    `-H 'Content-Type: ${TYPE}'`,
    ...(hasKey() ? ['-H "X-API-Key: $KEY"'] : []),
    quoted(whole(predictPath(queryOf(side)))),
  ].join(" \\\n  ");
}

export function pythonOf(side) {
  const { answer, layer } = side;
  const path = whole(predictPath({ ...queryOf(side), mask_format: "npy" }));
  const text = JSON.stringify;
  const open = answer.picture.isExample
    ? `urllib.request.urlopen(${text(whole("static/example.png"))})`
    : `open(${text(answer.picture.name)}, "rb")`;
  const key = hasKey() ? ', "X-API-Key": os.environ["KEY"]' : "";
  return `import base64
import io
import json
${hasKey() ? "import os\n" : ""}import urllib.request

import numpy

with ${open} as file:
    picture = file.read()
request = urllib.request.Request(
    ${text(path)},
    picture,
    {"Content-Type": "${TYPE}"${key}},
)
with urllib.request.urlopen(request) as response:
    result = json.load(response)["results"][0]
for each in result["predictions"]:
    print(f'{each["score"]:.3f} {each["label"]}')
${mapLines(layer)}`;
}

function mapLines({ kind, classes }) {
  const read = (place) => `numpy.load(io.BytesIO(base64.b64decode(${place}["data"])))`;
  if (kind !== "evidence") return `shown = ${read('result["masks"][0]')}[0]  # (h, w)\nprint(shown)\n`;
  const shown = classes.length > 1 ? "maps[0] - maps[1]" : "maps[0]";
  return `maps = ${read('result["attribution"]')}  # one a class\nshown = ${shown}  # (h, w)\nprint(shown)\n`;
}
