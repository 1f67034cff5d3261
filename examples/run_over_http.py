"""One job over HTTP, as a video editor's backend starts it; the result becomes a file.

Usage: python examples/run_over_http.py API VIDEO AUDIO START END OUTPUT
"""

import json
import sys
import time
from pathlib import Path

import httpx


def main() -> None:
    api, video, audio, start, end, output = sys.argv[1:]
    segment = {
        "startTime": float(start),
        "endTime": float(end),
        # The first audio file belongs to the first refId, the second one to the second, …
        "audioInput": {"refId": "line-1"},
    }
    with httpx.Client(base_url=api, timeout=60) as client:
        with Path(video).open("rb") as video_file, Path(audio).open("rb") as audio_file:
            answer = client.post(
                "/api/v1/video-editors/pro-sync-process",
                data={"segments_data": json.dumps([segment])},
                files={"file": video_file, "audio_files": audio_file},
            )
        job = answer.json()
        if answer.is_error:
            sys.exit(f"{answer.status_code} {job['code']}: {job['detail']}")
        print(f"Job {job['job_id']}")
        shown, view = "", job
        while view["status"] == "processing":
            time.sleep(1)
            view = client.get(job["status_url"]).raise_for_status().json()
            line = f"{view['progress']:3.0f} %  {view['message']}"
            if line != shown:
                print(line)
                shown = line
        if view["status"] != "completed":
            sys.exit(f"The job has not completed: {view['message']}")
        with client.stream("GET", view["output_url"]) as result, Path(output).open("wb") as file:
            result.raise_for_status()
            for data in result.iter_bytes():
                file.write(data)
    print(f"Written: {output}")


if __name__ == "__main__":
    main()
