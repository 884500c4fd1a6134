"""The escape hatch: raw m4 text for sendmail.mc, checked for what breaks or undermines the rest of the file.

The author runs the container and is trusted; the checks catch slips and values pasted from elsewhere.
They are not a sandbox: m4 can build a forbidden word from parts, and sendmail.cf itself can name programs.
"""

import difflib
import re

from postroad.config.sendmail_names import DEFINES, FEATURES
from postroad.config.values import refuse

OWNED_DEFINES = {
    "confDOMAIN_NAME": "the key hostname instead",
    "confSERVER_CERT": "the key tls.certificate_file instead",
    "confSERVER_KEY": "the key tls.key_file instead",
    "confCACERT": "the key delivery.tls.ca_file instead",
    "confDANE": "the key delivery.tls.policy instead",
    "confTLS_FALLBACK_TO_CLEAR": "the key delivery.tls.policy instead",
    "confMAX_HEADERS_LENGTH": "the key limits.header_size instead",
    "confMAX_MESSAGE_SIZE": "the key limits.message_size instead",
    "confMAX_RCPTS_PER_MESSAGE": "the key limits.recipients_per_message instead",
    "confTO_COMMAND": "the key limits.idle instead",
    "confTO_AUTH": "the key limits.idle instead",
    "confTO_QUEUERETURN": "the key delivery.queue.give_up_after instead",
    "confTO_QUEUERETURN_NORMAL": "the key delivery.queue.give_up_after instead",
    "confTO_QUEUEWARN": "the key delivery.queue.warn_after instead",
    "confTO_QUEUEWARN_NORMAL": "the key delivery.queue.warn_after instead",
} | dict.fromkeys(
    (
        *(
            "confAUTH_MECHANISMS",
            "confAUTH_OPTIONS",
            "confAUTH_REALM",
            "confCONTROL_SOCKET_NAME",
            "confCR_FILE",
            "confCW_FILE",
            "confDEF_USER_ID",
            "confINPUT_MAIL_FILTERS",
        ),
        # an accepted message could be lost
        *("confDELIVERY_MODE", "confSAFE_QUEUE"),
        # mail could bounce where the DNS does not answer
        "confTO_HOSTSTATUS",
        # DANE could vouch for a connection that is used for another domain; attempts with no end (preload/attempts.c)
        "confMCI_CACHE_SIZE",
        # the limits of routes would not hold: a run of the queue would end before its deliveries (confSEPARATE_PROC)
        *("confCON_EXPENSIVE", "confSEPARATE_PROC"),
        # the message could be altered after it was signed
        *(
            "confEIGHT_BIT_HANDLING",
            "confMAX_MIME_HEADER_LENGTH",
            "confNO_RCPT_ACTION",
            "confOLD_STYLE_HEADERS",
            "confRELAY_MAILER",
            "confSMTP_MAILER",
        ),
        *(
            "confLOG_LEVEL",
            "confMAILER_NAME",
            "confMILTER_LOG_LEVEL",
            "confMILTER_MACROS_EOM",
            "confPID_FILE",
            "confRUN_AS_USER",
            "confSERVICE_SWITCH_FILE",
        ),
        *(
            "confTRUSTED_USER",
            "ALIAS_FILE",
            "DATABASE_MAP_TYPE",
            "MAIL_SETTINGS_DIR",
            "QUEUE_DIR",
            "STATUS_FILE",
        ),
    ),
    "no such entry: Postroad needs a value of its own here",
)
"""Defines that would contradict the configuration, and what to set instead."""

_OWN_RELAYING = "the key clients.networks instead: this feature relays for "

OWNED_FEATURES = {
    "promiscuous_relay": f"{_OWN_RELAYING}everyone",
    "loose_relay_check": f"{_OWN_RELAYING}addresses such as a%b@c",
    "relay_based_on_MX": f"{_OWN_RELAYING}whoever points an MX record here",
    "relay_entire_domain": f"{_OWN_RELAYING}whoever has a reverse DNS name in the domain",
    "relay_local_from": f"{_OWN_RELAYING}whoever writes the right sender",
    "relay_mail_from": f"{_OWN_RELAYING}whoever writes the right sender",
    "sts": "the key delivery.tls.mta_sts instead",
    "msp": "no such entry: this feature makes a submission program, which does not listen",
    "nullclient": "no such entry: this feature replaces the whole configuration",
} | dict.fromkeys(
    (
        *("accept_unqualified_senders", "accept_unresolvable_domains", "access_db", "blocklist_recipients"),
        *("no_default_msa", "nocanonify", "nopercenthack", "nouucp", "use_cw_file"),
    ),
    "no such entry: Postroad sets this feature itself",
)
"""Features that Postroad sets itself, or that undermine it, and what to use instead."""

REFUSED_WORDS = {
    word: why
    for why, words in {
        "it runs programs": "syscmd esyscmd",
        "it reads or makes files": "include sinclude undivert maketemp mkstemp debugfile",
        "it changes how the rest is read": "changequote changecom changeword divert m4wrap m4exit",
        "it makes macros, which can stand for any refused word; use sendmail.defines": "define pushdef",
        "it reaches macros by other names": "undefine popdef defn indir builtin",
        "it builds words that this check can't see": "format patsubst regexp substr translit",
        "it writes to standard error, which stops the start": "errprint dumpdef debugmode traceon traceoff",
    }.items()
    for word in words.split()
}
"""GNU m4's builtins that have no place in a configuration, and why."""

_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SPLIT_WORD = re.compile(r"\w[`']+\w")
_FEATURE = re.compile(r"`?([A-Za-z0-9_]+)'?\s*(?:,\s*(?:(?:`[^`']*'|[^`'(),\s]+)\s*)?)*")


def _where(text: str, offset: int) -> str:
    return f" in its line {text.count(chr(10), 0, offset) + 1}" if "\n" in text.rstrip("\n") else ""


def check_raw(text: str) -> str:
    """The text, unchanged.

    Raises:
        PydanticCustomError: it has control characters other than tab and newline, unpaired quotes, a word split by
            quotes, or one of ``REFUSED_WORDS``.
    """
    for offset, char in enumerate(text):
        if char not in "\t\n" and not char.isprintable():
            refuse(
                "text without control characters other than tab and newline",
                found=f"{char!a}{_where(text, offset)}",
            )
    _check_quotes(text)
    if split := _SPLIT_WORD.search(text):
        refuse("words in one piece", found=f"a word split by quotes{_where(text, split.start())}")
    for word in _WORD.finditer(text):
        if why := REFUSED_WORDS.get(word.group()):
            refuse(
                f"text without the m4 builtin {word.group()}: {why}",
                found=f"{word.group()}{_where(text, word.start())}",
            )
    return text


def _check_quotes(text: str) -> None:
    # sendmail's files turn m4's comments off, so an apostrophe in a comment counts, too
    depth = last = 0
    for offset, char in enumerate(text):
        if char == "`":
            last = last if depth else offset
            depth += 1
        elif char == "'":
            depth -= 1
        if depth < 0:
            refuse("quotes in pairs, `like this'", found=f"a ' that closes nothing{_where(text, offset)}")
    if depth:
        refuse("quotes in pairs, `like this'", found=f"a ` that is never closed{_where(text, last)}")


def check_define_name(name: str) -> str:
    """The name, unchanged.

    Raises:
        PydanticCustomError: sendmail's m4 files don't know it, or Postroad sets it itself.
    """
    if instead := OWNED_DEFINES.get(name):
        refuse(instead, found=f"{name}, which Postroad sets itself")
    if name not in DEFINES:
        refuse("a name that sendmail's m4 files know", hint=_nearest(name, DEFINES, "confMAX_HOP"))
    return name


def check_define_value(text: str) -> str:
    """The text, unchanged; refuses what ``check_raw`` does, and ``$1``, which m4 replaces by a macro's argument."""
    if argument := re.search(r"\$[0-9*@#]", text):
        refuse("text without $1, $*, $@ or $#, which m4 replaces in a define", found=argument.group())
    return check_raw(text)


def check_feature(text: str) -> str:
    """The text between the parentheses of ``FEATURE(...)``, unchanged: a name, or a name and its arguments.

    Raises:
        PydanticCustomError: it has another form, or names an unknown feature or one of ``OWNED_FEATURES``.
    """
    match = _FEATURE.fullmatch(check_raw(text))
    if not match:
        refuse("a feature's name, or a name and its arguments: greet_pause, `5000'")
    name = match.group(1)
    if instead := OWNED_FEATURES.get(name):
        refuse(instead)
    if name not in FEATURES:
        refuse("the name of one of sendmail's features", hint=_nearest(name, FEATURES, "greet_pause"))
    return text


def _nearest(name: str, known: frozenset[str], example: str) -> str:
    folded = {entry.lower(): entry for entry in sorted(known)}
    near = difflib.get_close_matches(name.lower()[:100], folded, n=1)
    return f"; did you mean {folded[near[0]]}?" if near else f", such as {example}"
