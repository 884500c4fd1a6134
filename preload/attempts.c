/*
 * Limits the time of every session with a receiver. sendmail's own timeouts apply to single lines, so a receiver that sends
 * one line of its greeting every few seconds would hold a process, and the message, forever.
 *
 *   connect()      by sendmail to a TCP port begins an attempt;
 *   dup()          of such a connection belongs to the same attempt: sendmail reads from the copy;
 *   read(), write()  on it fail with ETIMEDOUT once it has taken POSTROAD_ATTEMPT_TIMEOUT seconds, plus one second for each
 *                  10 KB sent to the receiver: sendmail treats that as a lost connection, and defers;
 *   select()       waits no longer than that (sm_io waits there, on a non-blocking descriptor);
 *   attempts_begin_anew()  is called when a message is done: a connection that is kept open begins a new attempt at its
 *                  next use;
 *   close()        ends the attempt.
 *
 * /run/postroad/attempts shows all attempts under way to postroad/runtime/attempts.py: a slot of 64 octets each, in memory
 * that all of sendmail's processes share. A slot belongs to its process while that lives, so nobody has to clean up after a
 * process that was killed.
 *
 * The signal SIGRTMIN ends the attempts of a process: their connections are shut down, and read() and write() fail with
 * ECONNABORTED, so that the message is deferred.
 *
 * The slots also count separate delivery processes, for messages accepted at sendmail's own listeners: at most
 * POSTROAD_MOST_DELIVERIES at once (processes.c, fork()), and none while a receiver gets less (SLOWED).
 *
 * Encrypted sessions pass here, too, since OpenSSL's sockets use read() and write(). As everywhere in this library: no locks
 * and no malloc(). sendmail's alarm may siglongjmp() out of any of these functions, so none holds a resource meanwhile.
 */

#define _GNU_SOURCE

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "preload.h"

#define PICTURE "/run/postroad/attempts"
#define PUT_OFF "/run/postroad/put-off"
#define SLOWED "/run/postroad/slowed" /* there while a receiver gets less: the front alone lets mail go then */

enum {
	MOST_ATTEMPTS = 32, /* more than the connections that a process keeps open: ConnectionCacheSize plus one */
	FAIR = 10000,       /* octets a second */
	DNS = 53,
	MOST_SEEN = 1024,   /* slots; further attempts are limited in time, too, but not shown */
};

/* postroad/runtime/attempts.py unpacks it. Times are in milliseconds of CLOCK_BOOTTIME. */
struct slot {
	_Atomic int32_t pid; /* 0, or a process that has ended: the slot is free */
	uint16_t family, port; /* 0: not an attempt but a separate delivery process, for as long as that lives */
	int64_t began;       /* 0: the connection is kept open but idle */
	int64_t used, sent;
	uint8_t address[16]; /* IPv4 uses the first four */
	uint8_t reserved[16];
};
_Static_assert(sizeof(struct slot) == 64, "a slot");

static struct attempt {
	int descriptor, copy; /* plus 1; 0: none */
	ino_t socket;
	int64_t began, sent; /* 0: begins at the next use */
	struct slot *slot;   /* NULL: not shown */
} attempts[MOST_ATTEMPTS];

static int most_deliveries; /* 0: any number */
static char awaiting[512];  /* the messages whose delivery is about to begin, one per line */
static struct slot *picture = MAP_FAILED; /* the slots; MAP_FAILED: unavailable or not needed */

static int64_t limit; /* milliseconds; 0: none */
static volatile sig_atomic_t is_aborted;

static void
open_picture(void)
{
	int descriptor = open(PICTURE, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);

	if (descriptor < 0)
		return;
	/* reserve the space now: on a full file system, writing to an unallocated page would raise SIGBUS */
	if (posix_fallocate(descriptor, 0, MOST_SEEN * sizeof *picture) == 0)
		picture = mmap(NULL, MOST_SEEN * sizeof *picture, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
	close(descriptor);
}

__attribute__((constructor)) static void
read_limit(void)
{
	const char *text = getenv("POSTROAD_ATTEMPT_TIMEOUT");

	if (text != NULL && atol(text) > 0)
		limit = atol(text) * 1000;
	text = getenv("POSTROAD_MOST_DELIVERIES");
	most_deliveries = text == NULL ? 0 : atoi(text);
	if (limit != 0 || most_deliveries > 0)
		open_picture();
}

static int64_t
now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_BOOTTIME, &time);
	return (int64_t)time.tv_sec * 1000 + time.tv_nsec / 1000000;
}

static ino_t
socket_of(int descriptor)
{
	struct stat found;

	return fstat(descriptor, &found) == 0 && S_ISSOCK(found.st_mode) ? found.st_ino : 0;
}

static bool
is_alive(int32_t pid)
{
	return pid != 0 && (kill(pid, 0) == 0 || errno != ESRCH);
}

/* Take a free slot; NULL if there is none. */
static struct slot *
free_slot(void)
{
	int32_t me = getpid(), holder;
	int i;

	for (i = 0; picture != MAP_FAILED && i < MOST_SEEN; i++) {
		struct slot *slot = &picture[(me + i) % MOST_SEEN];

		holder = atomic_load(&slot->pid);
		if (is_alive(holder) || !atomic_compare_exchange_strong(&slot->pid, &holder, me))
			continue;
		slot->began = 0;
		slot->family = 0;
		return slot;
	}
	return NULL;
}

static struct slot *
take_slot(const struct sockaddr *peer)
{
	struct slot *slot = free_slot();

	if (slot != NULL) {
		slot->family = peer->sa_family;
		memset(slot->address, 0, sizeof slot->address);
		if (peer->sa_family == AF_INET)
			memcpy(slot->address, &((const struct sockaddr_in *)peer)->sin_addr, 4);
		else
			memcpy(slot->address, &((const struct sockaddr_in6 *)peer)->sin6_addr, 16);
		slot->port = ntohs(((const struct sockaddr_in *)peer)->sin_port);
	}
	return slot;
}

/* The slot, if this process owns it: a child inherits its parent's connections, but must not touch their slots. */
static struct slot *
slot_of(const struct attempt *attempt)
{
	return attempt->slot != NULL && atomic_load(&attempt->slot->pid) == getpid() ? attempt->slot : NULL;
}

static void
forget(struct attempt *attempt)
{
	struct slot *slot = slot_of(attempt);

	if (slot != NULL)
		atomic_store(&slot->pid, 0);
	*attempt = (struct attempt) { 0 };
}

/* Note that the connection is used: begin an attempt, or continue it. */
static void
use(struct attempt *attempt)
{
	struct slot *slot = slot_of(attempt);
	int64_t at = now();

	if (attempt->began == 0)
		attempt->began = at;
	if (slot != NULL) {
		slot->sent = attempt->sent;
		slot->used = at;
		slot->began = attempt->began;
	}
}

/* The attempt that a descriptor belongs to; NULL if none, or if the number was closed and reused meanwhile. */
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

static int64_t
left(const struct attempt *attempt)
{
	if (is_aborted)
		return 0;
	return attempt->began + limit + attempt->sent * 1000 / FAIR - now();
}

/* Make everything that waits for a receiver fail at once. */
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

void
attempt_begin(int descriptor, const struct sockaddr *peer)
{
	int error = errno, type = 0, port, i;
	socklen_t length = sizeof type;
	struct attempt *attempt = find(descriptor);
	/* without SA_RESTART, which would restart connect() */
	static const struct sigaction aborts = { .sa_handler = abort_attempts };

	if (limit == 0 || peer == NULL || (peer->sa_family != AF_INET && peer->sa_family != AF_INET6))
		return;
	/* the port has the same offset in both families */
	port = ntohs(((const struct sockaddr_in *)peer)->sin_port);
	if (port != DNS && getsockopt(descriptor, SOL_SOCKET, SO_TYPE, &type, &length) == 0 && type == SOCK_STREAM) {
		for (i = 0; attempt == NULL && i < MOST_ATTEMPTS; i++)
			if (attempts[i].socket == 0 || (socket_of(attempts[i].descriptor - 1) != attempts[i].socket
			    && socket_of(attempts[i].copy - 1) != attempts[i].socket))
				attempt = &attempts[i];
		if (attempt != NULL) {
			is_aborted = 0;
			(void)sigaction(SIGRTMIN, &aborts, NULL);
			forget(attempt);
			*attempt = (struct attempt) { descriptor + 1, 0, socket_of(descriptor), 0, 0, take_slot(peer) };
			use(attempt);
		}
	} else if (attempt != NULL) {
		forget(attempt);
	}
	errno = error;
}

EXPORT int
dup(int descriptor)
{
	static int (*next)(int);
	struct attempt *attempt = find(descriptor);
	int made;

	FIND_NEXT_OR_FAIL(dup);
	made = next(descriptor);
	if (attempt != NULL && made >= 0)
		*(attempt->descriptor == 0 ? &attempt->descriptor : &attempt->copy) = made + 1;
	return made;
}

void
attempts_begin_anew(void)
{
	int i;

	is_aborted = 0;
	for (i = 0; limit != 0 && i < MOST_ATTEMPTS; i++) {
		struct slot *slot = slot_of(&attempts[i]);

		attempts[i].began = attempts[i].sent = 0;
		if (slot != NULL)
			slot->began = 0;
	}
}

EXPORT int
close(int descriptor)
{
	static int (*next)(int);
	struct attempt *attempt = find(descriptor);

	FIND_NEXT_OR_FAIL(close);
	if (attempt != NULL) {
		*(attempt->descriptor == descriptor + 1 ? &attempt->descriptor : &attempt->copy) = 0;
		if (attempt->descriptor == 0 && attempt->copy == 0)
			forget(attempt);
	}
	return next(descriptor);
}

/* Wait until a blocking descriptor is ready; false, with errno set, if the attempt's time is over. */
static bool
wait_for(struct attempt *attempt, int descriptor, short events)
{
	struct pollfd wait = { .fd = descriptor, .events = events };
	int flags = fcntl(descriptor, F_GETFL);

	int64_t most;

	use(attempt);
	while ((most = left(attempt)) > 0) {
		if (flags < 0 || (flags & O_NONBLOCK) != 0)
			return true;
		/* an interrupting signal handler changes nothing, as with read() */
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

	FIND_NEXT_OR_FAIL(read);
	return attempt == NULL || wait_for(attempt, descriptor, POLLIN) ? next(descriptor, buffer, size) : -1;
}

bool
attempt_write(int descriptor, const void *buffer, size_t size, ssize_t *sent)
{
	struct attempt *attempt = find(descriptor);
	int flags;

	if (attempt == NULL)
		return false;
	flags = fcntl(descriptor, F_GETFL);
	for (;;) {
		*sent = -1;
		if (!wait_for(attempt, descriptor, POLLOUT))
			return true;
		/* only as much as fits: the rest would block for as long as the receiver likes */
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

	FIND_NEXT_OR_FAIL(select);
	for (i = 0; limit != 0 && i < MOST_ATTEMPTS * 2; i++) {
		struct attempt *attempt = &attempts[i / 2];
		int descriptor = (i % 2 == 0 ? attempt->descriptor : attempt->copy) - 1;

		if (descriptor >= 0 && descriptor < count
		    && ((readable != NULL && FD_ISSET(descriptor, readable)) || (writable != NULL && FD_ISSET(descriptor, writable)))
		    && socket_of(descriptor) == attempt->socket) {
			int64_t most;

			use(attempt);
			most = left(attempt) > 0 ? left(attempt) : 0;
			if (time == NULL || time->tv_sec * 1000 + time->tv_usec / 1000 > most) {
				shorter = (struct timeval) { .tv_sec = most / 1000, .tv_usec = most % 1000 * 1000 };
				time = &shorter;
			}
		}
	}
	return next(count, readable, writable, special, time);
}

void
delivery_begins(void)
{
	int error = errno;

	if (most_deliveries > 0)
		(void)free_slot();
	awaiting[0] = '\0';
	errno = error;
}

bool
delivery_has_room(void)
{
	int error = errno, count = 0, i;

	for (i = 0; most_deliveries > 0 && picture != MAP_FAILED && i < MOST_SEEN && count < most_deliveries; i++) {
		int32_t holder = atomic_load(&picture[i].pid);

		if (holder == 0 || picture[i].family != 0)
			continue;
		if (is_alive(holder))
			count++;
		else
			atomic_compare_exchange_strong(&picture[i].pid, &holder, 0);
	}
	if (most_deliveries > 0 && (count >= most_deliveries || access(SLOWED, F_OK) == 0)) {
		errno = error;
		return false;
	}
	errno = error;
	awaiting[0] = '\0';
	return true;
}

void
delivery_awaits(const char *name)
{
	size_t length = strlen(awaiting);

	/* the next regular queue run finds those that do not fit */
	if (length + strlen(name) < sizeof awaiting)
		snprintf(awaiting + length, sizeof awaiting - length, "%s\n", name + 2);
}

void
delivery_put_off(void)
{
	static const struct sockaddr_un front = { .sun_family = AF_UNIX, .sun_path = PUT_OFF };
	int error = errno, descriptor = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (descriptor >= 0) {
		(void)sendto(descriptor, awaiting, strlen(awaiting), MSG_NOSIGNAL, (const struct sockaddr *)&front, sizeof front);
		close(descriptor);
	}
	awaiting[0] = '\0';
	errno = error;
}
