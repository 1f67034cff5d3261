import pytest

from sandbox.ghostcut.signing import matches, sign

VECTORS = [
    (
        '{"urls":["https://example.com/video.mp4"],"needChineseOcclude":11,'
        '"videoInpaintLang":"zh","lang":"en"}',
        "be20751ed99721d54ea169db9578ac27",
    ),
    ("{}", "d249a6dee3e8735df546c0e2d5edf7f6"),
    ('{"idWorks":[538176634]}', "ddb550b0796f5ac42062cfd8d0d72608"),
    ('{"idWorks": [538176634]}', "5238c10e5992214333720720c2beaa2d"),
    ('{"notZero":true,"isValid":true}', "dfb53a4ff5ea82ec354d912d3f1ef1e6"),
    (
        '{"urls":["https://example.com/a.mp4"],"names":["测试"],"needChineseOcclude":1}',
        "094b0ced02d1bcd4a97d0b1c6211cf8e",
    ),
    (
        '{"id":488026661,"idProject":230953994,"processStatus":1}',
        "a5c2f142af4c285ac78ab8022cfc87dd",
    ),
]


@pytest.mark.parametrize(("body", "signature"), VECTORS)
def test_vectors(body: str, signature: str) -> None:
    assert sign(body.encode(), "demo-secret") == signature
    assert matches(body.encode(), "demo-secret", signature)
    assert not matches(body.encode() + b" ", "demo-secret", signature)
    assert not matches(body.encode(), "demo-secret", "ä" + signature)
