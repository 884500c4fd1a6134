/*
 * Every session with a receiver ends within a time. sendmail's own time-outs count for one answer each, and a receiver that says
 * a line of a greeting every few seconds keeps a process, and the message, for ever.
 *
 *   connect()      of sendmail's to a TCP port begins an attempt;
 *   dup()          of such a connection is the same one: sendmail reads from the copy;
 *   read(), write()  on it fail with ETIMEDOUT when it has taken POSTROAD_ATTEMPT_TIMEOUT seconds, and one second more for
 *                  each 10 KB that the receiver took: sendmail takes that for a receiver that went away, and defers;
 *   select()       waits no longer than that (sm_io waits there, on a descriptor that does not block);
 *   attempts_begin_anew()  when a message is done: a connection that is kept open begins anew with the next one.
 *
 * Since when is told by the process's name (/proc/PID/comm): "sends " and the seconds since the epoch, in hexadecimal; sendmail's
 * own title (/proc/PID/cmdline) has the message, the receiver and the command (postroad/sendmail/attempts.py reads both). The
 * signal SIGRTMIN ends the attempt: its connection is shut down, and read() and write() fail with ECONNABORTED.
 *
 * What is encrypted passes here, too: OpenSSL's sockets use read() and write(). As everywhere in this library: no locks and no
 * malloc(), and sendmail may siglongjmp() out of any of this when its own alarm comes: nothing is held meanwhile.
 */

#define _GNU_SOURCE

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "doors.h"

enum {
	MOST_ATTEMPTS = 32, /* connections that a process keeps open: ConnectionCacheSize and one */
	FAIR = 10000,       /* octets a second */
	DNS = 53,
};

static struct attempt {
	int descriptor, copy; /* plus 1; 0: none */
	ino_t socket;
	int64_t began, sent;
} attempts[MOST_ATTEMPTS];

static int64_t limit; /* milliseconds; 0: none */
static bool is_anew;  /* a message is done, and no word of the next one is said */
static volatile sig_atomic_t is_aborted;

__attribute__((constructor)) static void
read_limit(void)
{
	const char *text = getenv("POSTROAD_ATTEMPT_TIMEOUT");

	if (text != NULL && atol(text) > 0)
		limit = atol(text) * 1000;
}

static int64_t
now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (int64_t)time.tv_sec * 1000 + time.tv_nsec / 1000000;
}

static ino_t
socket_of(int descriptor)
{
	struct stat found;

	return fstat(descriptor, &found) == 0 && S_ISSOCK(found.st_mode) ? found.st_ino : 0;
}

/* The attempt that a descriptor stands for. One that was closed, and whose number is something else's by now, stands for none. */
static struct attempt *
find(int descriptor)
{
	int error = errno, i;

	for (i = 0; limit != 0 && i < MOST_ATTEMPTS; i++) {
		int *number = attempts[i].descriptor == descriptor + 1 ? &attempts[i].descriptor
		    : attempts[i].copy == descriptor + 1 ? &attempts[i].copy : NULL;

		if (number == NULL)
			continue;
		if (socket_of(descriptor) == attempts[i].socket)
			return &attempts[i];
		*number = 0;
	}
	errno = error;
	return NULL;
}

/* End what is under way. Called for the signal: whatever waits for the receiver fails at once. */
static void
abort_attempts(int signal)
{
	int error = errno, i;

	(void)signal;
	is_aborted = 1;
	for (i = 0; i < MOST_ATTEMPTS * 2; i++) {
		struct attempt *attempt = &attempts[i / 2];
		int descriptor = (i % 2 == 0 ? attempt->descriptor : attempt->copy) - 1;

		if (attempt->socket != 0 && descriptor >= 0 && socket_of(descriptor) == attempt->socket)
			(void)shutdown(descriptor, SHUT_RDWR);
	}
	errno = error;
}

static void
tell_since(void)
{
	/* without SA_RESTART: connect() would begin anew */
	static const struct sigaction aborts = { .sa_handler = abort_attempts };
	char name[16];

	is_anew = false;
	is_aborted = 0;
	snprintf(name, sizeof name, "sends %08llx", (unsigned long long)time(NULL));
	(void)prctl(PR_SET_NAME, name);
	(void)sigaction(SIGRTMIN, &aborts, NULL);
}

static int64_t
left(const struct attempt *attempt)
{
	if (is_aborted)
		return 0;
	return attempt->began + limit + attempt->sent * 1000 / FAIR - now();
}

void
attempt_begin(int descriptor, const struct sockaddr *peer)
{
	int error = errno, type = 0, port, i;
	socklen_t length = sizeof type;
	struct attempt *attempt = find(descriptor);

	if (limit == 0 || peer == NULL || (peer->sa_family != AF_INET && peer->sa_family != AF_INET6))
		return;
	/* at the same place in both */
	port = ntohs(((const struct sockaddr_in *)peer)->sin_port);
	if (port != DNS && getsockopt(descriptor, SOL_SOCKET, SO_TYPE, &type, &length) == 0 && type == SOCK_STREAM) {
		for (i = 0; attempt == NULL && i < MOST_ATTEMPTS; i++)
			if (attempts[i].socket == 0 || (socket_of(attempts[i].descriptor - 1) != attempts[i].socket
			    && socket_of(attempts[i].copy - 1) != attempts[i].socket))
				attempt = &attempts[i];
		if (attempt != NULL)
			*attempt = (struct attempt) { descriptor + 1, 0, socket_of(descriptor), now(), 0 };
		tell_since();
	} else if (attempt != NULL) {
		*attempt = (struct attempt) { 0 };
	}
	errno = error;
}

EXPORT int
dup(int descriptor)
{
	static int (*next)(int);
	struct attempt *attempt = find(descriptor);
	int made;

	if (next == NULL)
		*(void **)&next = dlsym(RTLD_NEXT, "dup");
	if (next == NULL) {
		errno = ENOSYS;
		return -1;
	}
	made = next(descriptor);
	if (attempt != NULL && made >= 0)
		*(attempt->descriptor == 0 ? &attempt->descriptor : &attempt->copy) = made + 1;
	return made;
}

void
attempts_begin_anew(void)
{
	int i;

	for (i = 0; limit != 0 && i < MOST_ATTEMPTS; i++) {
		attempts[i].began = now();
		attempts[i].sent = 0;
	}
	is_anew = true;
}

/* Wait until a descriptor that blocks is ready; false: the attempt is over, and errno says so. */
static bool
wait_for(struct attempt *attempt, int descriptor, short events)
{
	struct pollfd wait = { .fd = descriptor, .events = events };
	int flags = fcntl(descriptor, F_GETFL);

	int64_t most;

	while ((most = left(attempt)) > 0) {
		if (flags < 0 || (flags & O_NONBLOCK) != 0)
			return true;
		/* a handler that returns changes nothing, as it would not for read() */
		if (poll(&wait, 1, most < INT32_MAX ? (int)most : INT32_MAX) > 0)
			return true;
	}
	errno = is_aborted ? ECONNABORTED : ETIMEDOUT;
	return false;
}

EXPORT ssize_t
read(int descriptor, void *buffer, size_t size)
{
	static ssize_t (*next)(int, void *, size_t);
	struct attempt *attempt = find(descriptor);

	if (next == NULL)
		*(void **)&next = dlsym(RTLD_NEXT, "read");
	if (next == NULL) {
		errno = ENOSYS;
		return -1;
	}
	return attempt == NULL || wait_for(attempt, descriptor, POLLIN) ? next(descriptor, buffer, size) : -1;
}

bool
attempt_write(int descriptor, const void *buffer, size_t size, ssize_t *sent)
{
	struct attempt *attempt = find(descriptor);
	int flags;

	if (attempt == NULL)
		return false;
	if (is_anew)
		tell_since();
	flags = fcntl(descriptor, F_GETFL);
	for (;;) {
		*sent = -1;
		if (!wait_for(attempt, descriptor, POLLOUT))
			return true;
		/* as much as there is room for: the rest would block for as long as the receiver likes */
		*sent = send(descriptor, buffer, size, MSG_DONTWAIT);
		if (*sent > 0)
			attempt->sent += *sent;
		if (*sent >= 0 || (errno != EAGAIN && errno != EWOULDBLOCK) || flags < 0 || (flags & O_NONBLOCK) != 0)
			return true;
	}
}

EXPORT int
select(int count, fd_set *readable, fd_set *writable, fd_set *special, struct timeval *time)
{
	static int (*next)(int, fd_set *, fd_set *, fd_set *, struct timeval *);
	struct timeval shorter;
	int i;

	if (next == NULL)
		*(void **)&next = dlsym(RTLD_NEXT, "select");
	if (next == NULL) {
		errno = ENOSYS;
		return -1;
	}
	for (i = 0; limit != 0 && i < MOST_ATTEMPTS * 2; i++) {
		struct attempt *attempt = &attempts[i / 2];
		int descriptor = (i % 2 == 0 ? attempt->descriptor : attempt->copy) - 1;

		if (descriptor >= 0 && descriptor < count
		    && ((readable != NULL && FD_ISSET(descriptor, readable)) || (writable != NULL && FD_ISSET(descriptor, writable)))
		    && socket_of(descriptor) == attempt->socket) {
			int64_t most = left(attempt) > 0 ? left(attempt) : 0;

			if (time == NULL || time->tv_sec * 1000 + time->tv_usec / 1000 > most) {
				shorter = (struct timeval) { .tv_sec = most / 1000, .tv_usec = most % 1000 * 1000 };
				time = &shorter;
			}
		}
	}
	return next(count, readable, writable, special, time);
}
