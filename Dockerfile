# Postroad's image: sendmail from Debian, the Python packages from uv.lock, one flat layer.
# Behind a proxy that inspects TLS, hand the build its certificates: --secret id=ca_bundle,src=/path/to/bundle.crt

ARG BASE=debian:trixie-slim

# --- what needs a compiler or a package installer -------------------------------------------------
FROM ${BASE} AS build
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
RUN apt-get update \
    && apt-get install --yes --no-install-recommends gcc libc6-dev python3-venv
COPY preload /src/preload
# the files' names are words of their own
# hadolint ignore=SC2046
RUN mkdir -p /out/usr/local/lib/postroad \
    && find /src/preload -name '*.c' ! -name absent.c ! -name exit_status.c | sort | xargs \
        gcc -std=gnu17 -O2 -fPIC -shared -fvisibility=hidden -Wall -Wextra -Werror -Wl,-z,relro,-z,now,-s \
        -o /out/usr/local/lib/postroad/preload.so \
    && gcc -std=gnu17 -O2 -fPIC -shared -fvisibility=hidden -Wall -Wextra -Werror -o /src/exit_status.so /src/preload/exit_status.c \
    && lib=/out/usr/lib/$(gcc -print-multiarch) && mkdir -p "$lib" \
    && gcc -std=gnu17 -O2 -fPIC -shared -Wall -Wextra -Werror -Wl,-z,relro,-z,now,-s -Wl,-soname,libnsl.so.2 \
        -Wl,--version-script=<(echo 'LIBNSL_1.0 { *; };') -o "$lib/libnsl.so.2" /src/preload/absent.c \
    && ln -s libnsl.so.2 "$lib/libwrap.so.0"
WORKDIR /src
COPY pyproject.toml uv.lock dev/uv.txt ./
# uv reads the bundle from SSL_CERT_FILE, pip from PIP_CERT
RUN --mount=type=secret,id=ca_bundle \
    if [ -s /run/secrets/ca_bundle ]; then export SSL_CERT_FILE=/run/secrets/ca_bundle PIP_CERT=/run/secrets/ca_bundle; fi \
    && python3 -m venv /uv \
    && /uv/bin/pip install --quiet --no-cache-dir --require-hashes --requirement uv.txt \
    && UV_PROJECT_ENVIRONMENT=/out/opt/postroad/venv UV_PYTHON=/usr/bin/python3 UV_PYTHON_DOWNLOADS=never UV_LINK_MODE=copy \
        /uv/bin/uv sync --frozen --no-dev --no-install-project --no-cache --quiet \
    && rm -f /out/opt/postroad/venv/.lock \
    # two thirds of the wheels' libraries are for debuggers
    && find /out/opt/postroad/venv -name '*.so' -exec strip --strip-unneeded {} +
COPY postroad /out/opt/postroad/postroad
COPY templates /out/opt/postroad/templates
COPY entrypoint.py /out/opt/postroad/
COPY --chmod=0644 rootfs/Sendmail.conf /out/etc/sasl2/Sendmail.conf
COPY --chmod=0755 rootfs/healthcheck /out/usr/local/lib/postroad/healthcheck
# byte code that is never checked against its source: the root file system is read-only, and times differ between builds;
# modes for every user, since a checkout's follow its owner's umask
RUN chmod -R u=rwX,go=rX /out \
    && find /out -name __pycache__ -prune -exec rm -r {} + \
    && python3 -m compileall -q -j 0 --invalidation-mode unchecked-hash -s /out /out/opt/postroad \
    && mkdir -p /out/usr/local/bin && ln -s /opt/postroad/entrypoint.py /out/usr/local/bin/postroad

# --- the root file system -------------------------------------------------------------------------
FROM ${BASE} AS rootfs
# The day of Debian's packages, for the label; another day fetches them anew.
ARG PACKAGES_DATE=
ENV DEBIAN_FRONTEND=noninteractive
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
# sendmail's packages are unpacked without their dependencies on Perl, make, cron and init scripts; what their binaries
# link against is installed, but for libnsl2 and libwrap0 (preload/absent.c). Their entries in /var/lib/dpkg/status.d let vulnerability scanners see them.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends \
        ca-certificates libpython3.13-stdlib m4 openssl python3.13-minimal \
        libdb5.3t64 libldap2 liblockfile1 libsasl2-2 libsasl2-modules libsasl2-modules-db libssl3t64 \
        libpq5 \
    && mkdir /tmp/debs /var/lib/dpkg/status.d \
    && cd /tmp/debs && apt-get download sendmail-bin sendmail-cf \
    && for deb in *.deb; do \
        dpkg-deb --extract "$deb" / ; \
        dpkg-deb --field "$deb" > "/var/lib/dpkg/status.d/$(dpkg-deb --field "$deb" Package)"; \
    done
# The loader ignores a preloaded library in a set-group-id program, and nothing here needs that group.
RUN groupadd --gid 2525 smmta \
    && useradd --uid 2525 --gid 2525 --home-dir /var/lib/postroad --no-create-home --shell /usr/sbin/nologin smmta \
    && chmod g-s /usr/libexec/sendmail/sendmail \
    && ln -sf ../libexec/sendmail/sendmail /usr/sbin/sendmail \
    && ln -sf ../libexec/sendmail/makemap /usr/sbin/makemap \
    && ln -s python3.13 /usr/bin/python3 \
    # Docker gives a new volume the owner and mode of the folder here: group 0 may write, which any other uid is run with
    && install -d -o smmta -g root -m 0770 /var/spool/mqueue /var/lib/postroad /run/postroad \
    && install -d -m 0755 /etc/postroad
# Perl and apt go as well: nothing in the image calls them. dpkg's list stays, for scanners.
RUN dpkg --purge --force-all debconf apt perl-base \
    && find / -xdev -type f -perm /6000 -exec chmod a-s {} + \
    && find /usr/libexec/sendmail -type f ! -name sendmail ! -name makemap -delete \
    # sendmail loads every mechanism that it finds, and is to use PLAIN, LOGIN and CRAM-MD5 only
    && rm /usr/lib/*/sasl2/lib{anonymous,digestmd5,ntlm,scram}.* \
    && rm -f /usr/bin/{su,newgrp,mount,umount,passwd,gpasswd,chsh,chfn,chage} \
    && rm -rf /tmp/* /var/tmp/* /var/cache/* /var/log/* /var/lib/apt /etc/apt /etc/init.d /etc/cron.* /etc/mail/* \
        /usr/lib/systemd /usr/share/doc /usr/share/man /usr/share/info /usr/share/locale /usr/share/lintian /usr/share/bug \
        /usr/share/zoneinfo /usr/lib/python3.13/{ensurepip,idlelib,pydoc_data,turtledemo,test,tkinter,lib2to3}
COPY --from=build /out /
# where sendmail keeps its exit status, for preload/verdicts.c
RUN --mount=type=bind,from=build,source=/src,target=/src \
    /src/preload/find-exit-status /usr/sbin/sendmail /src/exit_status.so > /usr/local/lib/postroad/exit-status
# preload/ leans on the insides of one version of sendmail: headers.c ends any other
RUN said=$(POSTROAD_FQDN=build.invalid LD_PRELOAD=/usr/local/lib/postroad/preload.so /usr/sbin/sendmail -C /dev/null -bt </dev/null 2>&1 || true) \
    && case "$said" in *postroad-preload:*) echo "$said"; exit 1 ;; esac

# --- the same, without the build's own dates: two builds of one commit from the same packages are alike ---
FROM ${BASE} AS dated
COPY --from=rootfs / /rootfs
ARG SOURCE_DATE_EPOCH=
# /etc/shadow counts the days since a password was changed; its and its neighbours' backups have no reader
RUN cd /rootfs/etc && rm -f passwd- group- shadow- gshadow- subuid- subgid- .pwd.lock \
    && if [ -n "$SOURCE_DATE_EPOCH" ]; then \
        sed -i -E "s/^([^:]*:[^:]*):[0-9]+:/\1:$((SOURCE_DATE_EPOCH / 86400)):/" shadow \
        && find /rootfs -newermt "@$SOURCE_DATE_EPOCH" -exec touch --no-dereference --date "@$SOURCE_DATE_EPOCH" {} + ; \
    fi

FROM scratch
# one flat layer is what lets the steps above take things out
# hadolint ignore=DL3067
COPY --from=dated /rootfs /
# after the layer, which they do not change
ARG VERSION=0.1.0
ARG REVISION=
ARG CREATED=
ARG BASE_DIGEST=
ARG PACKAGES_DATE=
LABEL org.opencontainers.image.title="Postroad" \
      org.opencontainers.image.description="A send-only mail server: sendmail, DKIM and delivery events from one YAML file" \
      org.opencontainers.image.licenses="Apache-2.0 AND Sendmail-Open-Source-1.1 AND BSD-3-Clause" \
      org.opencontainers.image.source="https://github.com/postroad/postroad" \
      org.opencontainers.image.created="${CREATED}" \
      org.opencontainers.image.base.name="debian:trixie-slim" \
      org.opencontainers.image.base.digest="${BASE_DIGEST}" \
      postroad.packages.date="${PACKAGES_DATE}" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
ENV PATH=/usr/local/bin:/usr/sbin:/usr/bin LANG=C.UTF-8 PYTHONDONTWRITEBYTECODE=1
USER 2525:2525
WORKDIR /
VOLUME ["/var/spool/mqueue", "/var/lib/postroad"]
EXPOSE 25 465 587
STOPSIGNAL SIGTERM
# Each check after the first takes 20 s by itself: --start-interval would do, but engines before 25 refuse it
HEALTHCHECK --interval=1s --timeout=30s --start-period=60s --retries=10 CMD ["/usr/local/lib/postroad/healthcheck", "20"]
ENTRYPOINT ["/usr/local/bin/postroad"]
CMD ["run"]
