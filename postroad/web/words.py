"""The console's words: one catalogue, English and Korean."""

from collections.abc import Mapping

LANGUAGES = ("en", "ko")
CATALOGUE: Mapping[str, tuple[str, str]] = {
    "overview": ("Overview", "개요"),
    "sign_in": ("Sign in", "로그인"),
    "sign_out": ("Sign out", "로그아웃"),
    "password": ("Password", "비밀번호"),
    "wrong": ("That is not the password.", "비밀번호가 올바르지 않습니다."),
    "wait": ("Too many attempts. Try again in {} seconds.", "시도가 너무 많습니다. {}초 뒤에 다시 시도하세요."),
    "elsewhere": ("This form was not sent from this page.", "이 페이지에서 보낸 양식이 아닙니다."),
    "last_day": ("The last 24 hours", "최근 24시간"),
    "accepted": ("Accepted", "접수"),
    "delivered": ("Delivered", "전달됨"),
    "deferred": ("Deferred (attempts)", "지연 (시도)"),
    "bounced": ("Bounced", "반송"),
    "rejected": ("Rejected", "거부"),
    "bounce_rate": ("Bounce rate", "반송률"),
    "rate_fine": ("below 5 %", "5 % 미만"),
    "rate_warn": ("5 % or more: providers look", "5 % 이상: 메일 업체가 주시합니다"),
    "rate_act": ("10 % or more: providers may stop you", "10 % 이상: 발송이 차단될 수 있습니다"),
    "queue": ("Waiting in the queue", "큐에서 대기 중"),
    "oldest": ("oldest: {}", "가장 오래된 메일: {}"),
    "relay": ("This relay", "이 릴레이"),
    "ready": ("ready", "준비됨"),
    "doctor": ("What the doctor finds wrong", "닥터가 찾은 문제"),
    "no_look": ("The doctor has not looked yet.", "닥터가 아직 점검하지 않았습니다."),
    "nothing_wrong": ("Nothing.", "없음."),
    "by_provider": ("By provider", "수신 업체별"),
    "by_class": ("Why mail failed", "실패 원인"),
    "provider": ("Provider", "업체"),
    "class": ("Class", "분류"),
    "hour": ("Hour (UTC)", "시 (UTC)"),
    "no_mail": ("No mail in this time.", "이 시간에는 메일이 없습니다."),
    "no_store": ("The event store can't be read: {}", "이벤트 저장소를 읽을 수 없습니다: {}"),
    "as_table": ("The same as a table", "표로 보기"),
    "updated": ("As of {}", "{} 기준"),
    "steps": (
        "Nothing has been sent yet. What is missing, in this order:",
        "아직 보낸 메일이 없습니다. 다음 순서로 진행하세요:",
    ),
    "step_records": ("Publish the records: postroad dns", "레코드를 게시합니다: postroad dns"),
    "step_port": (
        "See that port 25 is open and all is well: postroad doctor",
        "포트 25와 나머지를 점검합니다: postroad doctor",
    ),
    "step_send": (
        "Send a first message: postroad send you@example.net",
        "첫 메일을 보냅니다: postroad send you@example.net",
    ),
}


def language(accepted: str) -> str:
    """The language for an ``Accept-Language`` (RFC 9110, 12.5.4): the first with the most weight; else English."""
    best, found = 0.0, "en"
    for part in accepted[:500].split(","):
        name, _, weight = part.strip().partition(";")
        name = name.strip().lower().partition("-")[0]
        try:
            value = float(weight.strip().removeprefix("q=") or 1)
        except ValueError:
            continue
        if name in LANGUAGES and best < value <= 1:
            best, found = value, name
    return found


def words(language: str) -> dict[str, str]:
    """All words in a language."""
    number = LANGUAGES.index(language)
    return {name: texts[number] for name, texts in CATALOGUE.items()}
