/*
 * Inner doors: unix sockets at which the sendmail daemon listens for Postroad's own processes only. These speak there on
 * behalf of clients that they have accepted themselves (postroad/front).
 *
 *   bind()         to the address 240.0.0.1, which no host has (RFC 1112, class E), makes a unix socket instead:
 *                  /run/postroad/door-N for port N;
 *   accept()       at such a socket first reads a header with the client's address and the address it connected to;
 *   getpeername(), getsockname()  return these addresses, so that rules, log lines and Received: fields name the client;
 *   fsync()        of a message's control file (queue.c) tells the other end of the session, if the header asks for it, by
 *                  a line "\001ID\n" among the answers: from then on everything that a 250 promises is on disk;
 *   syslog()       of a delivery that failed (log.c) tells it likewise by "\001\n".
 *
 * Only the user that runs this gets in: the socket's mode ensures it, and SO_PEERCRED is checked, too, in case others may
 * write to the folder. A client's address comes from the header alone, so nobody on the network can claim one here.
 *
 * Read in sendmail 8.18.1: getrequests() and opendaemonsocket() in daemon.c (one accept() for all listeners, a child for each
 * client, ECONNABORTED is ignored), getauthinfo() for getpeername(), queueup() in queue.c for fsync(). As everywhere in this
 * library: no locks, no malloc(), and errno is left unchanged.
 */

#define _GNU_SOURCE

#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "preload.h"

#define FOLDER "/run/postroad"

enum {
	MOST_DOORS = 9,
	HEADER_WAIT = 250, /* milliseconds; the daemon accepts nobody else meanwhile, and the header comes with the connection */
	TELL_SAVED = 1,    /* in flags */
};

/* postroad/front/session.py packs it. */
struct header {
	char magic[8];
	uint32_t flags, reserved;
	struct sockaddr_storage peer, local;
};

static const char MAGIC[8] = { 'p', 'o', 's', 't', 'r', 'o', 'a', 'd' };

static int listening[MOST_DOORS];       /* descriptors plus 1; 0: none */
static struct header told;              /* of the last client */
static ino_t session;                   /* the client's socket; 0: the last client did not come through an inner door */
static int session_descriptor = -1;

/* The inode of a descriptor that is a unix stream socket; else 0. */
static ino_t
unix_socket(int descriptor)
{
	struct stat found;
	int domain = 0;
	socklen_t length = sizeof domain;

	if (getsockopt(descriptor, SOL_SOCKET, SO_DOMAIN, &domain, &length) != 0 || domain != AF_UNIX)
		return 0;
	return fstat(descriptor, &found) == 0 ? found.st_ino : 0;
}

/* The number of the door that an address stands for; 0: it is a real address. */
static int
door_of(const struct sockaddr *address, socklen_t length)
{
	static const uint8_t mapped[] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 240, 0, 0, 1 };
	const struct sockaddr_in *four = (const struct sockaddr_in *)address;
	const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)address;
	int port = 0;

	if (address->sa_family == AF_INET && length >= sizeof *four && memcmp(&four->sin_addr, mapped + 12, 4) == 0)
		port = ntohs(four->sin_port);
	else if (address->sa_family == AF_INET6 && length >= sizeof *six && memcmp(&six->sin6_addr, mapped, sizeof mapped) == 0)
		port = ntohs(six->sin6_port);
	return port <= MOST_DOORS ? port : 0;
}

EXPORT int
bind(int descriptor, const struct sockaddr *address, socklen_t length)
{
	static int (*next)(int, const struct sockaddr *, socklen_t);
	struct sockaddr_un path = { .sun_family = AF_UNIX };
	int door = address == NULL ? 0 : door_of(address, length), made;

	FIND_NEXT_OR_FAIL(bind);
	if (door == 0)
		return next(descriptor, address, length);
	snprintf(path.sun_path, sizeof path.sun_path, FOLDER "/door-%d", door);
	if (unlink(path.sun_path) != 0 && errno != ENOENT)
		return -1;
	if ((made = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) < 0)
		return -1;
	if (dup3(made, descriptor, O_CLOEXEC) < 0) {
		close(made);
		return -1;
	}
	close(made);
	if (next(descriptor, (struct sockaddr *)&path, sizeof path) != 0 || chmod(path.sun_path, 0600) != 0)
		return -1;
	listening[door - 1] = descriptor + 1;
	return 0;
}

/* Copy an address to the caller like the kernel: no more octets than fit, but the full length. */
static void
hand_over(const struct sockaddr_storage *address, struct sockaddr *to, socklen_t *length)
{
	socklen_t whole = address->ss_family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);

	if (to == NULL || length == NULL)
		return;
	memcpy(to, address, whole < *length ? whole : *length);
	*length = whole;
}

static bool
is_address(const struct sockaddr_storage *address)
{
	return address->ss_family == AF_INET || address->ss_family == AF_INET6;
}

/* Read the header with which a client of an inner door begins. */
static bool
read_header(int descriptor, struct header *header)
{
	struct pollfd wait = { .fd = descriptor, .events = POLLIN };
	struct ucred peer;
	socklen_t length = sizeof peer;

	return getsockopt(descriptor, SOL_SOCKET, SO_PEERCRED, &peer, &length) == 0 && peer.uid == geteuid()
	    && poll(&wait, 1, HEADER_WAIT) == 1
	    && recv(descriptor, header, sizeof *header, MSG_DONTWAIT) == (ssize_t)sizeof *header
	    && memcmp(header->magic, MAGIC, sizeof MAGIC) == 0 && is_address(&header->peer) && is_address(&header->local);
}

bool
door_accept(int descriptor, struct sockaddr *peer, socklen_t *length, int *accepted)
{
	static int (*next)(int, struct sockaddr *, socklen_t *);
	int i;

	session = 0; /* the next client is another one */
	for (i = 0; i < MOST_DOORS && listening[i] != descriptor + 1; i++)
		;
	if (i == MOST_DOORS || unix_socket(descriptor) == 0)
		return false;
	*accepted = -1;
	FIND_NEXT(accept);
	if (next == NULL) {
		errno = ENOSYS;
		return true;
	}
	if ((*accepted = next(descriptor, NULL, NULL)) < 0)
		return true;
	if (!read_header(*accepted, &told)) {
		close(*accepted);
		*accepted = -1;
		errno = ECONNABORTED;
		return true;
	}
	session = unix_socket(*accepted);
	session_descriptor = *accepted;
	hand_over(&told.peer, peer, length);
	return true;
}

#define TOLD(function, address) \
	static int (*next)(int, struct sockaddr *, socklen_t *); \
	int error = errno; \
\
	if (session != 0 && unix_socket(descriptor) == session) { \
		hand_over(address, name, length); \
		errno = error; \
		return 0; \
	} \
	errno = error; \
	FIND_NEXT_OR_FAIL(function); \
	return next(descriptor, name, length)

static int
peer_name(int descriptor, struct sockaddr *name, socklen_t *length)
{
	TOLD(getpeername, &told.peer);
}

EXPORT int
getpeername(int descriptor, struct sockaddr *name, socklen_t *length)
{
	int result = peer_name(descriptor, name, length);

	if (result == 0)
		uplink_name(name, length);
	return result;
}

EXPORT int
getsockname(int descriptor, struct sockaddr *name, socklen_t *length)
{
	TOLD(getsockname, &told.local);
}

EXPORT int SSL_accept(void *connection);

/* Stop telling of saved messages once the session is encrypted: a plain line would corrupt the TLS stream. */
EXPORT int
SSL_accept(void *connection)
{
	static int (*next)(void *);

	told.flags = 0;
	FIND_NEXT(SSL_accept);
	return next == NULL ? -1 : next(connection);
}

static void
tell(const char *text)
{
	char note[64];
	int error = errno, size;

	if (session == 0 || (told.flags & TELL_SAVED) == 0 || unix_socket(session_descriptor) != session)
		return;
	size = snprintf(note, sizeof note, "\001%s\n", text);
	if (size > 0 && (size_t)size < sizeof note)
		(void)send(session_descriptor, note, (size_t)size, MSG_NOSIGNAL | MSG_DONTWAIT);
	errno = error;
}

void
door_tell_saved(const char *name)
{
	tell(name + 2);
}

void
door_tell_failed(void)
{
	tell("");
}
