"""What each client sends: text in several scripts, HTML, attachments with long names, an invitation."""

import base64
from dataclasses import asdict, dataclass
from email.message import EmailMessage
from email.policy import default
from email.utils import formatdate, make_msgid
from typing import Any

TEXT = """\
안녕하세요. 주문하신 상품이 오늘 발송되었습니다.
สวัสดีครับ สินค้าที่คุณสั่งซื้อถูกจัดส่งแล้ววันนี้
Доброго дня! Ваше замовлення відправлено сьогодні.
مرحبا، تم شحن طلبك اليوم.
🎉 📦 👩‍👩‍👧‍👦 — “naïve” façade, 100 %
.
.. a line that begins with dots, and one that begins with
From here on
"""
HTML = """\
<html lang="ko"><body><h1>주문 확인 🎉</h1><p>สวัสดีครับ, <b>Доброго дня</b>!</p><p dir="rtl">مرحبا، تم شحن طلبك اليوم.</p></body></html>
"""
INVITE = """\
BEGIN:VCALENDAR
VERSION:2.0
PRODID:-//sender.example//clients//EN
METHOD:REQUEST
BEGIN:VEVENT
UID:meeting-1@sender.example
DTSTAMP:20261126T090000Z
DTSTART:20261201T090000Z
DTEND:20261201T100000Z
SUMMARY:Зустріч – 회의 – การประชุม
LOCATION:서울
ORGANIZER:mailto:app@sender.example
ATTENDEE;RSVP=TRUE:mailto:user@inbox.example
END:VEVENT
END:VCALENDAR
""".replace("\n", "\r\n")
NAMES = (
    "Квартальний звіт про роботу відділу продажів за третій квартал 2026 року – остаточна редакція.pdf",
    "2026년 3분기 영업부 실적 보고서 최종본 (검토 완료) – 대외비, 무단 전재 및 재배포 금지.pdf",
    "รายงานผลการดำเนินงานของฝ่ายขายประจำไตรมาสที่สามปีสองพันยี่สิบหก.pdf",
    "تقرير أداء قسم المبيعات للربع الثالث من عام ٢٠٢٦ – النسخة النهائية.pdf",
    "🎉 photo of the team 👩‍👩‍👧‍👦.pdf",
)


@dataclass(frozen=True)
class Given:
    """A message as an app has it. ``html`` and ``invite`` may be empty; a file is its name and its octets."""

    subject: str
    text: str = TEXT
    html: str = ""
    invite: str = ""
    files: tuple[tuple[str, bytes], ...] = ()
    from_name: str = "Магазин 상점"
    to_name: str = "คุณ สมชาย"

    def as_json(self) -> dict[str, Any]:
        """What the scripts read."""
        attachments = [
            {"name": name, "type": "application/pdf", "content": base64.b64encode(content).decode()}
            for name, content in self.files
        ]
        return {**asdict(self), "files": None, "attachments": attachments}


MESSAGES = {
    "scripts": Given("Замовлення 12345 – 주문 확인 – ยืนยันคำสั่งซื้อ – تأكيد الطلب 🎉", html=HTML),
    "files": Given("첨부 파일 📎", files=tuple((name, f"%PDF of {name}\0\n".encode() * 20) for name in NAMES)),
    "invite": Given("Запрошення – 초대 📅", invite=INVITE),
    # a name of which the encoded form is longer than 1 KB
    "name": Given("ไฟล์แนบ", files=((NAMES[2].removesuffix(".pdf") * 2 + ".pdf", b"%PDF \0\xff\n"),)),
}


def compose(given: Given, sender: str, recipient: str) -> bytes:
    """The message as Python's email package makes it, and as a file has it: lines end in LF."""
    message = EmailMessage(default)
    message["From"] = f'"{given.from_name}" <{sender}>'
    message["To"] = f'"{given.to_name}" <{recipient}>'
    message["Subject"] = given.subject
    message["Date"] = formatdate()
    message["Message-ID"] = make_msgid(domain=sender.partition("@")[2])
    message.set_content(given.text)
    if given.html:
        message.add_alternative(given.html, subtype="html")
    if given.invite:
        message.add_alternative(given.invite, subtype="calendar", params={"method": "REQUEST"})
    for name, content in given.files:
        message.add_attachment(content, maintype="application", subtype="pdf", filename=name)
    return message.as_bytes()
