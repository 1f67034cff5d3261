"""Made-up videos as cameras, phones and recorders write them, and the results of providers.

A clip is kept as players show it: displayed pictures, and sound in time with the first of them.
The file's matrix, transfer and offset are added when it is written, and results are made from the
displayed pictures. Nothing here uses the product's own reading.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
from av.audio.stream import AudioStream
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from PIL import Image, ImageDraw, ImageFilter, ImageFont

Picture = npt.NDArray[np.uint8]
Sound = npt.NDArray[np.float32]

RATE = 48_000
SEGMENT = (1.0, 2.4)
AREA = (0.1, 0.8, 0.4, 0.9)
"""Of the frame: a caption that is erased. Left, top, right, bottom."""
MOUTH = (0.46, 0.55, 0.54, 0.62)


@dataclass(frozen=True)
class Clip:
    """A video as players show it, and the properties of its file.

    Attributes:
        name: kind of source.
        pictures: as displayed, RGB.
        times: when each is shown, seconds from the first.
        sound: samples x channels at `RATE`, from the first picture; None without.
        file: ending and codecs, pixel format, quality, matrix, transfer, offset.
    """

    name: str
    pictures: Sequence[Picture]
    times: Sequence[float]
    sound: Sound | None
    file: File


@dataclass(frozen=True)
class File:
    """How pictures and sound are written."""

    suffix: str = ".mp4"
    codec: str = "libx264"
    pix_fmt: str = "yuv420p"
    crf: int = 20
    matrix: str = ""
    """"hflip", "90": pictures are stored so that this shows them right."""
    transfer: str = ""
    """"pq", "hlg"."""
    full_range: bool = False
    colorspace: int = 2
    interlaced: bool = False
    offset: float = 0.0
    """Seconds at which picture and sound begin."""
    rate: int = RATE
    sound_codec: str = "aac"
    sound_offset: float = 0.0
    options: dict[str, str] = field(default_factory=dict)


def write(path: Path, clip: Clip) -> Path:
    """The clip as a file; its name gets the ending."""
    file = clip.file
    path = path.with_name(path.name + file.suffix)
    with av.open(str(path), "w") as out:
        video = _video_stream(out, clip) if clip.pictures else None
        audio: AudioStream | None = None
        if clip.sound is not None:
            added = out.add_stream(file.sound_codec, rate=file.rate)
            assert isinstance(added, AudioStream)
            audio = added
            audio.layout = {1: "mono", 2: "stereo", 6: "5.1"}[clip.sound.shape[1]]
        if video is not None:
            for picture, time in zip(clip.pictures, clip.times, strict=True):
                frame = _frame(_stored(picture, file.matrix), file)
                frame.pts = round((time + file.offset) * 90_000)
                frame.time_base = Fraction(1, 90_000)
                out.mux(video.encode(frame))
            out.mux(video.encode(None))
        if audio is not None and clip.sound is not None:
            _write_sound(out, audio, clip.sound, file)
    if file.matrix:
        _turn(path, file.matrix, clip.pictures[0].shape[1], clip.pictures[0].shape[0])
    return path


def _video_stream(out: Any, clip: Clip) -> VideoStream:
    file = clip.file
    steps = np.diff(np.asarray(clip.times))
    rate = Fraction(1 / float(np.median(steps))).limit_denominator(1001)
    stream = out.add_stream(file.codec, rate=rate)
    assert isinstance(stream, VideoStream)
    height, width = _stored(clip.pictures[0], file.matrix).shape[:2]
    stream.width, stream.height, stream.pix_fmt = width, height, file.pix_fmt
    context = stream.codec_context
    context.time_base = Fraction(1, 90_000)
    context.gop_size = 50
    if file.codec == "libvpx":
        context.options = {"deadline": "realtime", "cpu-used": "8", "b": "1500k"}
    elif file.codec == "libx265":
        given = {"x265-params": "log-level=none", "preset": "ultrafast"}
        context.options = {**given, "crf": str(file.crf), **file.options}
    elif file.codec == "mjpeg":
        context.qmin = context.qmax = 3
    else:
        context.options = {"preset": "veryfast", "crf": str(file.crf), **file.options}
    if file.transfer:
        context.color_trc = {"pq": 16, "hlg": 18}[file.transfer]
        context.color_primaries = context.colorspace = 9
    elif file.colorspace != 2:
        context.color_trc = context.color_primaries = context.colorspace = file.colorspace
    if file.full_range:
        context.color_range = 2
    return stream


def _frame(picture: Picture, file: File) -> VideoFrame:
    if file.transfer:
        code = _hdr_code(picture, file.transfer)
        frame = VideoFrame.from_ndarray(code, format="rgb48le")
    else:
        frame = VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
    made = frame.reformat(
        format=file.pix_fmt,
        dst_colorspace=None if file.colorspace == 2 else file.colorspace,
        dst_color_range=2 if file.full_range else 1,
    )
    if file.transfer:
        made.color_trc = {"pq": 16, "hlg": 18}[file.transfer]
        made.color_primaries = made.colorspace = 9
    return made


def _hdr_code(picture: Picture, transfer: str) -> npt.NDArray[np.uint16]:
    """White paper at 203 nits (ITU-R BT.2408)."""
    light = (picture / 255.0) ** 2.4
    if transfer == "pq":
        power = (light * 203 / 10_000) ** 0.1593017578125
        code = ((0.8359375 + 18.8515625 * power) / (1 + 18.6875 * power)) ** 78.84375
    else:
        scene = light * 0.265
        log = 0.17883277 * np.log(np.maximum(12 * scene - 0.28466892, 1e-9)) + 0.55991073
        code = np.where(scene <= 1 / 12, np.sqrt(3 * scene), log)
    return np.round(code * 65535).astype(np.uint16)


def _write_sound(out: Any, audio: AudioStream, sound: Sound, file: File) -> None:
    if file.rate != RATE:
        count = round(len(sound) * file.rate / RATE)
        at = np.linspace(0, len(sound) - 1, count)
        sound = np.stack(
            [np.interp(at, np.arange(len(sound)), one) for one in sound.T], axis=1
        ).astype(np.float32)
    if file.sound_offset:
        sound = delayed(sound, file.sound_offset)
    for start in range(0, len(sound), 960):
        block = np.ascontiguousarray(sound[start : start + 960]).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(block, format="flt", layout=audio.layout.name)
        frame.sample_rate = file.rate
        frame.pts = start + round(file.offset * file.rate)
        frame.time_base = Fraction(1, file.rate)
        out.mux(audio.encode(frame))
    out.mux(audio.encode(None))


def _stored(picture: Picture, matrix: str) -> Picture:
    if matrix == "hflip":
        return picture[:, ::-1]
    return np.rot90(picture) if matrix == "90" else picture


def _turn(path: Path, matrix: str, width: int, height: int) -> None:
    """Put the matrix into the header of the first track, which is the picture's."""
    one = 0x10000
    values = {
        "hflip": (-one, 0, 0, 0, one, 0, width * one, 0, 0x40000000),
        "90": (0, one, 0, -one, 0, 0, width * one, 0, 0x40000000),
    }[matrix]
    data = bytearray(path.read_bytes())
    header = data.find(b"tkhd") + 4
    place = header + (24 if data[header] == 0 else 36) + 16
    data[place : place + 36] = struct.pack(">9i", *values)
    path.write_bytes(data)


# Pictures


def texture(width: int, height: int, seed: int) -> npt.NDArray[np.float64]:
    """Clouds with edges, as large things and small things in nature have: 0 to 1."""
    rng = np.random.default_rng(seed)
    down, across = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None, :]
    power = 1 / np.maximum(np.hypot(down, across), 1 / max(width, height)) ** 1.3
    noise = np.fft.rfft2(rng.normal(size=(height, width))) * power
    clouds = np.fft.irfft2(noise, (height, width))
    clouds = (clouds - clouds.min()) / (clouds.max() - clouds.min())
    # Some steps, so that there are outlines.
    result: npt.NDArray[np.float64] = 0.5 * clouds + 0.5 * np.round(clouds * 5) / 5
    return result


def filmed(width: int, height: int, seed: int, light: float = 0.75, pan: float = 0.0) -> Draw:
    """A head that sways before a background, a hand, a caption; ``pan`` pixels a second."""
    wide = texture(width + round(abs(pan) * 6) + 8, height, seed)
    tint = np.random.default_rng(seed + 1).uniform(0.75, 1.0, 3)
    rows, columns = np.mgrid[0:height, 0:width]

    def draw(time: float) -> Picture:
        left = round(pan * time)
        image = wide[:, left : left + width, None] * tint * 255 * light
        centre = width * (0.5 + 0.01 * np.sin(1.9 * time))
        face = ((columns - centre) / (0.11 * height)) ** 2
        face = face + ((rows - 0.48 * height) / (0.2 * height)) ** 2 < 1
        image[face] = np.array([205, 165, 140]) * light
        for side in (-0.04, 0.04):
            eye = np.hypot(columns - centre - side * height, rows - 0.42 * height) < height / 60
            image[eye] = 20
        hand = (width * (0.75 + 0.1 * np.sin(2.3 * time)), height * (0.55 + 0.1 * np.cos(time)))
        image[np.hypot(columns - hand[0], rows - hand[1]) < height / 14] = (
            np.array([190, 150, 130]) * light
        )
        x0, y0, x1, y1 = _pixels(AREA, width, height)
        image[y0:y1, x0:x1:6] = 250
        image[y0 : y1 : max(2, (y1 - y0) // 3), x0:x1] = 250
        return np.clip(image, 0, 255).astype(np.uint8)

    return draw


def drawn(width: int, height: int, seed: int) -> Draw:
    """An animation: even colours, hard edges, a cut every 1.3 s."""

    def draw(time: float) -> Picture:
        rng = np.random.default_rng(seed + int(time / 1.3))
        image = Image.new("RGB", (width, height), tuple(rng.integers(90, 230, 3).tolist()))
        pen = ImageDraw.Draw(image)
        for _ in range(9):
            x, y = rng.uniform(0, width), rng.uniform(0, height)
            size = rng.uniform(0.05, 0.3) * height
            x += 40 * np.sin(time * rng.uniform(1, 4)) * height / 270
            fill = tuple(rng.integers(0, 255, 3).tolist())
            shape = pen.ellipse if rng.uniform() < 0.5 else pen.rectangle
            shape((x - size, y - size, x + size, y + size), fill=fill, outline=(10, 10, 10))
        x0, y0, x1, y1 = _pixels(AREA, width, height)
        pen.rectangle((x0, y0, x1 - 1, y1 - 1), fill=(250, 250, 250))
        pen.line((x0, y0, x1, y1), fill=(0, 0, 0), width=2)
        return np.asarray(image)

    return draw


def recorded(width: int, height: int, seed: int) -> Draw:
    """A screen: a page with lines of text, another page now and then, a webcam's head."""

    def draw(time: float) -> Picture:
        rng = np.random.default_rng(seed + int(time / 1.7))
        image = Image.new("RGB", (width, height), (236, 238, 240))
        pen = ImageDraw.Draw(image)
        for line in range(10):
            y = height * (0.08 + 0.085 * line)
            x = width * 0.05
            while x < width * rng.uniform(0.6, 0.9):
                word = width * rng.uniform(0.02, 0.09)
                pen.rectangle((x, y, x + word, y + height * 0.03), fill=(60, 60, 70))
                x += word + width * 0.012
        x0, y0, x1, y1 = _pixels(AREA, width, height)
        pen.rectangle((x0, y0, x1 - 1, y1 - 1), fill=(30, 90, 200))
        face = (width * 0.42, height * 0.3, width * 0.58, height * 0.68)
        pen.ellipse(face, fill=(205, 165, 140), outline=(90, 60, 50))
        return np.asarray(image)

    return draw


Draw = Callable[[float], Picture]


def _pixels(box: tuple[float, float, float, float], width: int, height: int) -> tuple[int, ...]:
    left, top, right, bottom = box
    return round(left * width), round(top * height), round(right * width), round(bottom * height)


def speech(seconds: float, seed: int, channels: int = 1) -> Sound:
    """Syllables with pauses, as loud as speech is."""
    rng = np.random.default_rng(seed)
    parts: list[npt.NDArray[np.float64]] = []
    while sum(map(len, parts)) < seconds * RATE:
        length = int(rng.uniform(0.1, 0.35) * RATE)
        tone = np.sin(2 * np.pi * rng.uniform(110, 300) * np.arange(length) / RATE)
        loud = rng.uniform(0.08, 0.45)
        parts.append((tone + 0.3 * rng.normal(size=length)) * loud * np.hanning(length))
        parts.append(np.zeros(int(rng.choice([0.03, 0.08, 0.4]) * RATE)))
    one = np.concatenate(parts)[: round(seconds * RATE)].astype(np.float32)
    return np.repeat(one[:, None], channels, axis=1)


def delayed(sound: Sound, seconds: float) -> Sound:
    """Later, or earlier where ``seconds`` is below 0; as long as before."""
    count = round(abs(seconds) * RATE)
    silence = np.zeros((count, sound.shape[1]), np.float32)
    if seconds < 0:
        return np.concatenate([sound[count:], silence])
    return np.concatenate([silence, sound])[: len(sound)]


# Sources


def sources(seconds: float = 3.6) -> list[Clip]:
    """One clip of each kind."""

    def clip(name: str, draw: Draw, *, fps: float = 25, channels: int = 1, **file: Any) -> Clip:
        times = [number / fps for number in range(round(seconds * fps))]
        sound = speech(seconds, seed=len(name), channels=channels) if channels else None
        return Clip(name, [draw(time) for time in times], times, sound, File(**file))

    rng = np.random.default_rng(8)
    uneven = np.cumsum([0.0, *rng.choice([1 / 30, 1 / 30, 2 / 30, 1 / 24], 400)])
    held = [0.0, 0.04, 0.08, 0.9, 1.7, 1.74, 1.78, 2.6, 3.4, 3.44, 3.56]
    dark = clip("low light", filmed(384, 216, 5, light=0.25), crf=22)
    return [
        clip("landscape", filmed(384, 216, 1), fps=30000 / 1001, channels=2),
        clip("portrait", filmed(216, 384, 2), fps=30),
        clip("front camera, mirrored by its matrix", filmed(384, 216, 3), matrix="hflip"),
        clip("phone, turned by its matrix", filmed(216, 384, 4), matrix="90"),
        clip("HDR, PQ", filmed(384, 216, 6, light=0.9), **_hdr("pq")),
        clip("HDR, HLG", filmed(384, 216, 7, light=0.9), **_hdr("hlg")),
        _timed(clip("variable frame rate", filmed(384, 216, 9)), filmed(384, 216, 9), uneven),
        _timed(clip("screen, pictures held", recorded(384, 216, 10)), recorded(384, 216, 10), held),
        clip(
            "WebM that begins at 1.4 s",
            filmed(384, 216, 11),
            suffix=".webm",
            codec="libvpx",
            sound_codec="libopus",
            offset=1.4,
        ),
        clip("60 pictures a second", filmed(384, 216, 12, pan=40), fps=60),
        clip("animation", drawn(384, 216, 13), channels=2),
        replace(dark, pictures=[_grainy(picture, 6, rng) for picture in dark.pictures]),
        clip("no sound", filmed(384, 216, 14), channels=0),
        clip("5.1 sound", filmed(384, 216, 15), channels=6),
        clip("tiny", filmed(128, 96, 16)),
        clip("odd size", filmed(321, 181, 17), pix_fmt="yuv444p"),
        clip("MJPEG, full range", filmed(384, 216, 18), **_mjpeg()),
        clip("interlaced", filmed(384, 216, 19, pan=30), interlaced=True, **_interlaced()),
        clip("720 lines, a pan", filmed(1280, 720, 20, pan=90), fps=15),
    ]


def _hdr(transfer: str) -> dict[str, Any]:
    return {"codec": "libx265", "pix_fmt": "yuv420p10le", "transfer": transfer, "crf": 18}


def _mjpeg() -> dict[str, Any]:
    return {"suffix": ".mov", "codec": "mjpeg", "pix_fmt": "yuvj420p", "full_range": True}


def _interlaced() -> dict[str, Any]:
    return {"options": {"x264-params": "interlaced=1"}}


def _timed(clip: Clip, draw: Draw, times: Iterable[float]) -> Clip:
    """The clip with pictures at these times, as far as it lasts."""
    kept = [float(time) for time in times if time < clip.times[-1] + 0.02]
    return replace(clip, pictures=[draw(time) for time in kept], times=kept)


def _grainy(picture: Picture, sigma: float, rng: np.random.Generator) -> Picture:
    grain = rng.normal(0, sigma, picture.shape)
    return np.clip(picture + grain, 0, 255).astype(np.uint8)


# A provider's processing


def plain(clip: Clip) -> Clip:
    """The same, encoded again as providers do: H.264 in MP4."""
    return replace(clip, file=File())


def mouthed(clip: Clip) -> Clip:
    """A lip-sync: a mouth opens and closes in the segment, which has the new sound."""
    start, end = SEGMENT
    pictures = []
    for picture, time in zip(clip.pictures, clip.times, strict=True):
        if start <= time < end:
            picture = picture.copy()
            x0, y0, x1, y1 = _pixels(MOUTH, picture.shape[1], picture.shape[0])
            opened = max(1, round((y1 - y0) * (0.5 + 0.5 * np.sin(14 * time))))
            picture[y0 : y0 + opened, x0:x1] = (110, 25, 35)
        pictures.append(picture)
    channels = 1 if clip.sound is None else clip.sound.shape[1]
    length = round((clip.times[-1] + 0.04) * RATE)
    sound = np.zeros((length, channels), np.float32) if clip.sound is None else clip.sound.copy()
    first, last = round(start * RATE), round(end * RATE)
    sound[first:last] = line()[: last - first]
    return replace(clip, pictures=pictures, sound=sound)


def line() -> Sound:
    """The new sound of the segment."""
    return speech(SEGMENT[1] - SEGMENT[0], seed=77)


def erased(clip: Clip, area: tuple[float, float, float, float] = AREA) -> Clip:
    """A text removal: the area is filled with what is around it."""
    pictures = []
    for picture in clip.pictures:
        picture = picture.copy()
        x0, y0, x1, y1 = _pixels(area, picture.shape[1], picture.shape[0])
        above = picture[max(0, y0 - 2), x0:x1].astype(float)
        below = picture[min(y1 + 1, len(picture) - 1), x0:x1].astype(float)
        share = np.linspace(0, 1, y1 - y0)[:, None, None]
        picture[y0:y1, x0:x1] = (above * (1 - share) + below * share).astype(np.uint8)
        pictures.append(picture)
    return replace(clip, pictures=pictures)


def mapped(clip: Clip, change: Callable[[Picture], Picture]) -> Clip:
    """Each picture changed."""
    return replace(clip, pictures=[np.ascontiguousarray(change(p)) for p in clip.pictures])


def at_rate(clip: Clip, fps: float) -> Clip:
    """At a constant rate; each picture stays until the next one."""
    end = clip.times[-1] + float(np.median(np.diff(np.asarray(clip.times))))
    times = [number / fps for number in range(round(end * fps))]
    chosen = np.searchsorted(np.asarray(clip.times), np.asarray(times) + 1e-6, side="right") - 1
    return replace(clip, pictures=[clip.pictures[max(0, n)] for n in chosen], times=times)


def sized(clip: Clip, width: int, height: int) -> Clip:
    """At another size."""
    size = (width, height)
    return mapped(
        clip, lambda p: np.asarray(Image.fromarray(p).resize(size, Image.Resampling.LANCZOS))
    )


def filtered(picture: Picture, kind: ImageFilter.Filter) -> Picture:
    """A picture with one of Pillow's filters."""
    return np.asarray(Image.fromarray(picture).filter(kind))


def curved(picture: Picture, gamma: float, gain: float = 1.0, lift: float = 0.0) -> Picture:
    """With another tone curve."""
    table = 255 * np.clip(lift + gain * (np.arange(256) / 255) ** gamma, 0, 1)
    return np.round(table).astype(np.uint8)[picture]


def marked(picture: Picture, words: str = "sync.") -> Picture:
    """With a half transparent name at the bottom right."""
    height, width = picture.shape[:2]
    image = Image.fromarray(picture).convert("RGBA")
    layer = Image.new("RGBA", image.size)
    font = ImageFont.load_default(max(9, min(width, height) // 14))
    ImageDraw.Draw(layer).text(
        (width * 0.96, height * 0.95),
        words,
        (255, 255, 255, 140),
        font,
        anchor="rs",
        stroke_width=1,
        stroke_fill=(0, 0, 0, 80),
    )
    return np.asarray(Image.alpha_composite(image, layer).convert("RGB"))
