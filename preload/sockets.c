/*
 * Connections:
 *
 *   connect(), accept()  set TCP_NODELAY: sendmail writes a message in pieces of 4 KB, and the last one would wait until the
 *                  receiver acknowledges the earlier ones, which receivers delay by some 40 ms;
 *   write()        tells a client that sends AUTH in clear text what to do, instead of sendmail's "AUTH not available".
 *
 * These functions also bound attempts (attempts.c), and serve inner doors (doors.c) and the uplink (uplink.c).
 */

#define _GNU_SOURCE

#include <dlfcn.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "preload.h"

/* Let a TCP connection send each write at once; other sockets, and errno, are unchanged. */
static void
send_at_once(int descriptor, const struct sockaddr *peer)
{
	const int on = 1;
	int error = errno;

	if (peer != NULL && (peer->sa_family == AF_INET || peer->sa_family == AF_INET6))
		(void)setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on); /* fails for UDP */
	errno = error;
}

EXPORT int
connect(int descriptor, const struct sockaddr *peer, socklen_t length)
{
	static connect_call *next;
	int result;

	FIND_NEXT_OR_FAIL(connect);
	if (uplink_connect(descriptor, peer, length, next, &result)) {
		if (result == 0)
			attempt_begin(descriptor, peer);
		return result;
	}
	send_at_once(descriptor, peer);
	attempt_begin(descriptor, peer);
	return next(descriptor, peer, length);
}

int accepted = -1;

EXPORT int
accept(int descriptor, struct sockaddr *peer, socklen_t *length)
{
	static int (*next)(int, struct sockaddr *, socklen_t *);

	FIND_NEXT_OR_FAIL(accept);
	if (door_accept(descriptor, peer, length, &accepted))
		return accepted;
	accepted = next(descriptor, peer, length);
	if (accepted >= 0 && !client_may_come_in()) {
		close(accepted);
		accepted = -1;
		errno = ECONNABORTED; /* getrequests() continues with the next client */
	}
	if (accepted >= 0)
		send_at_once(accepted, peer);
	return accepted;
}

static char no_auth[512]; /* an SMTP answer with its line end (RFC 5321, section 4.5.3.1.5) */

/* Runs before main(), where sendmail clears its environment at once. */
__attribute__((constructor)) static void
read_answer(void)
{
	const char *answer = getenv("POSTROAD_NO_AUTH");

	if (answer != NULL && strlen(answer) < sizeof no_auth - 2)
		sprintf(no_auth, "%s\r\n", answer);
}

/*
 * sendmail's answer to AUTH when it does not offer AUTH is a constant (srvrsmtp.c). In clear text it passes through here,
 * in a write of its own unless the client pipelines, which AUTH forbids (RFC 4954, section 4). In that case, and if sendmail
 * words it differently, the answer stays sendmail's.
 */
EXPORT ssize_t
write(int descriptor, const void *data, size_t size)
{
	static ssize_t (*next)(int, const void *, size_t);
	static const char said[] = "503 5.3.3 AUTH not available\r\n";
	size_t length = strlen(no_auth), done = 0;
	ssize_t written;

	FIND_NEXT_OR_FAIL(write);
	if (attempt_write(descriptor, data, size, &written))
		return written;
	if (length == 0 || size != sizeof said - 1 || memcmp(data, said, size) != 0)
		return next(descriptor, data, size);
	while (done < length) {
		written = next(descriptor, no_auth + done, length - done);
		if (written < 0 && errno == EINTR)
			continue;
		if (written < 0)
			return -1;
		done += (size_t)written;
	}
	return (ssize_t)size;
}
