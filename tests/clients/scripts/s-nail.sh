#!/bin/bash -e
# s-nail (mailx): it composes a message with attachments itself; ~/.mailrc is what the page shows
HOME=$(mktemp -d)
MAILRC=$HOME/.mailrc # root's home is that of /etc/passwd, whatever HOME says
export HOME MAILRC LC_ALL=C.UTF-8
case $PORT in
25)
    cat >"$HOME/.mailrc" <<'END'
# <25>
set v15-compat=yes
set mta=smtp://postroad smtp-auth=none
# </25>
END
    ;;
587)
    cat >"$HOME/.mailrc" <<'END'
# <587>
set v15-compat=yes
set mta=smtp://app@mail.example.com:587 smtp-use-starttls
set password="$SMTP_PASSWORD" tls-verify=strict
# </587>
END
    ;;
465)
    cat >"$HOME/.mailrc" <<'END'
set v15-compat=yes
set mta=smtps://app@mail.example.com:465
set password="$SMTP_PASSWORD" tls-verify=strict
END
    ;;
esac
given() { python3 -c 'import json, os, sys; print(json.load(open(os.environ["MESSAGE"]))[sys.argv[1]], end="")' "$1"; }
cd "$HOME"
python3 -c '
import base64, json, os, pathlib
given = json.load(open(os.environ["MESSAGE"]))
for file in given["attachments"]:
    pathlib.Path(file["name"]).write_bytes(base64.b64decode(file["content"]))
if given["invite"]:
    pathlib.Path("invite.ics").write_text(given["invite"], newline="")
'
attached=()
for file in *; do [[ ! -f $file ]] || attached+=(-a "$file"); done
given text | s-nail -:u -S sendwait -r "$FROM" -s "$(given subject)" "${attached[@]}" "$TO"
