"""Pictures as a person brings them to the page, and what lies on its canvases."""

from __future__ import annotations

import base64
import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import FilePayload, Locator, Page

from tests.running import png_of

DROP = """([text, name, event]) => {
    const bytes = Uint8Array.from(atob(text), (each) => each.charCodeAt(0));
    const transfer = new DataTransfer();
    transfer.items.add(new File([bytes], name, {type: "image/png"}));
    const carried = event === "paste" ? {clipboardData: transfer} : {dataTransfer: transfer};
    const kind = event === "paste" ? ClipboardEvent : DragEvent;
    document.body.dispatchEvent(new kind(event, {bubbles: true, cancelable: true, ...carried}));
}"""
PIXELS = """(canvas) => {
    const small = new OffscreenCanvas(32, 32).getContext("2d", {willReadFrequently: true});
    small.drawImage(canvas, 0, 0, 32, 32);
    return [...small.getImageData(0, 0, 32, 32).data];
}"""


def striped(height: int = 48, width: int = 64) -> bytes:
    """A PNG with something to see in it."""
    row = np.linspace(0, 255, width).astype(np.uint8)
    image = np.stack([np.tile(row, (height, 1))] * 3, axis=2)
    image[height // 3 : height // 2, width // 4 : width // 2] = (220, 40, 10)
    return png_of(image)


def tiff() -> FilePayload:
    """A file of a format that the service reads and browsers do not show."""
    content = io.BytesIO()
    Image.open(io.BytesIO(striped())).save(content, "TIFF")
    return {"name": "stripes.tiff", "mimeType": "image/tiff", "buffer": content.getvalue()}


def file(name: str = "stripes.png", content: bytes = b"") -> FilePayload:
    """A file to be picked."""
    return {"name": name, "mimeType": "image/png", "buffer": content or striped()}


def hand_over(page: Page, event: str, name: str) -> None:
    """Drop or paste a picture somewhere on the page."""
    page.evaluate(DROP, [base64.b64encode(striped()).decode(), name, event])


def pixels_of(canvas: Locator) -> NDArray[np.uint8]:
    """What a canvas shows, scaled to (1024, 4): RGBA."""
    return np.array(canvas.evaluate(PIXELS), np.uint8).reshape(-1, 4)
