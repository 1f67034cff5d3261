"""The vendor's `ProcessStatus` enum and the other lists of `/v-w-c/enum/query2`.

Source: vendor docs, "process status": 1 is success, a status below 1 is running, one above 1 has
failed.
"""

from collections.abc import Mapping

DRAFT = -3
PREPARING = -2
QUEUED = -1
PROCESSING = 0
SUCCESS = 1
BAD_URL = 2
DOWNLOAD_FAILED = 3
TOO_LONG = 5
CORRUPT = 16
ERASE_FAILED = 20
INVALID_DATA = 26
UNKNOWN_ERROR = 43
NO_POINTS = 73
LOCKED = 83
TOO_LARGE = 100

PROCESS_STATUS: dict[int, tuple[str, str]] = {
    DRAFT: ("草稿就绪，等待合成", "Draft ready, waiting for synthesis"),
    PREPARING: ("素材准备中", "Material in preparation"),
    QUEUED: ("默认，待处理", "Default, waiting to be processed"),
    PROCESSING: ("工程已创建，处理中", "Project built, processing"),
    SUCCESS: ("处理成功", "Processing succeeded"),
    BAD_URL: ("URL解析失败", "URL resolution failed"),
    DOWNLOAD_FAILED: ("下载失败或源文件损坏", "Download failed or source is damaged"),
    TOO_LONG: ("视频时长超过限制", "Video is longer than 15 minutes"),
    6: ("配音翻译调用失败", "Voice translation call failed"),
    7: ("配音翻译处理失败", "Voice translation processing failed"),
    13: ("音乐处理失败", "Music processing failed"),
    14: ("素材osskey缺失", "Asset osskey is missing"),
    CORRUPT: ("视频可能损坏", "Video may be corrupt: the last 0.2 s cannot be read"),
    18: ("视频处理超时", "Video processing timed out"),
    ERASE_FAILED: ("擦除处理失败", "Erase processing failed"),
    21: ("人声分离失败", "Speech separation failed"),
    22: ("远程任务发送失败", "Remote task could not be sent"),
    23: ("远程处理超时", "Remote processing timed out"),
    24: ("克隆音色不存在", "Cloned voice is missing"),
    INVALID_DATA: ("数据校验失败", "Data validation failed"),
    27: ("字幕长于视频", "Subtitle is longer than the video"),
    28: ("内容违规", "Content policy violation"),
    29: ("部分角色没有配音", "Some roles have no voice"),
    30: ("句子短于0.1秒", "Sentence is shorter than 0.1 s"),
    31: ("TTS音频损坏", "TTS audio is corrupt"),
    32: ("既无音频也无字幕", "Neither audio nor subtitle"),
    UNKNOWN_ERROR: ("未知错误", "Unknown error"),
    NO_POINTS: ("点数不足，未开始处理", "Not enough points, processing has not started"),
    LOCKED: ("点数不足，已处理但锁定", "Not enough points, processed but locked"),
    98: ("存储空间已用完", "Storage space is used up"),
    99: ("时长超过限制", "Duration limit exceeded"),
    TOO_LARGE: ("文件大小超过限制", "Size limit exceeded (1000 MB)"),
    111: ("处理超时", "Processing timed out"),
    1000: ("成功", "success"),
}

_Entries = Mapping[int | str, tuple[str, str]]

_LANGUAGES: dict[int | str, tuple[str, str]] = {
    "all": ("全部", "All"),
    "zh": ("中文", "Chinese"),
    "en": ("英语", "English"),
    "ja": ("日语", "Japanese"),
    "ko": ("韩语", "Korean"),
    "ar": ("阿拉伯语", "Arabic"),
}

ENUMS: dict[str, _Entries] = {
    "processstatus": dict(PROCESS_STATUS.items()),
    "imagetaskstatus": {
        0: ("处理中", "Processing"),
        1: ("成功", "Succeeded"),
        2: ("失败", "Failed"),
    },
    "lang": _LANGUAGES,
    "sourcelang": _LANGUAGES,
    "musicregion": {"": ("默认", "Default")},
}


def describe(status: int) -> dict[str, int | str]:
    """The `processStatusEnum` object of a row; an unlisted status has its number as text."""
    chinese, english = PROCESS_STATUS.get(status, (f"状态{status}", f"Status {status}"))
    return {"code": status, "description": chinese, "descriptionEn": english}


def enum_items(name: str) -> list[dict[str, int | str]]:
    """The entries of an enum, whose name may be in any case; an unknown enum has none."""
    return [
        {"code": code, "description": text, "descriptionEn": english, "descriptionPt": english}
        for code, (text, english) in ENUMS.get(name.lower(), {}).items()
    ]
