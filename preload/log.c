/*
 * syslog() and its relatives send one line per message, "<priority>ident[pid]: text", to the FIFO beside the unix socket
 * POSTROAD_LOG_SOCKET, or as a datagram to that socket (an unprivileged process can't make /dev/log).
 *
 * Logging never holds up mail: a full FIFO or socket is waited for once, for a second; after that, lines are dropped and
 * counted until one gets through.
 *
 * A line about a delivery that failed, in a process that serves a client, is told to the front as well (doors.c).
 *
 * A process that says that a bounce has no room on the disk ends at once, and its message waits. returntosender() and
 * savemail() (savemail.c of sendmail 8.18.1) would go on to the address for double bounces, which is empty, and drop both.
 */

#define _GNU_SOURCE
#undef _FORTIFY_SOURCE /* its inline functions can't be defined a second time */

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sysexits.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include "preload.h"

enum {
	USUAL_LENGTH = 2048,     /* sendmail cuts its own lines at 1 KB */
	GREATEST_LENGTH = 65536, /* well below the limit of a unix datagram */
	LOWEST_DESCRIPTOR = 200, /* high, because programs close and reuse low numbers */
	WAIT_SECONDS = 1,
};

static struct sockaddr_un log_address = { .sun_family = AF_UNIX };

/* Runs before main(), where sendmail clears its environment at once. */
__attribute__((constructor)) static void
read_address(void)
{
	const char *path = getenv("POSTROAD_LOG_SOCKET");

	if (path != NULL && strlen(path) < sizeof log_address.sun_path)
		strcpy(log_address.sun_path, path);
}

/*
 * One socket per process, inherited by fork() and never closed here. sendmail closes descriptors that it doesn't know, and
 * the number may then be reused, for example by an SMTP connection. So a descriptor is used only while its inode is still the
 * one that was opened. Both are in one value, so that threads see them change together.
 */
static _Atomic uint64_t log_socket; /* inode << 32 | descriptor; 0: none */

/* After a process has waited in vain, it doesn't wait again until a line gets through; children inherit this. */
static atomic_bool reader_is_stuck;
static atomic_uint lines_lost;
static atomic_int lines_lost_by; /* the process that counted, so that a child doesn't report its parent's losses again */

static uint64_t
identity(int descriptor)
{
	struct stat made;

	if (fstat(descriptor, &made) != 0 || !S_ISSOCK(made.st_mode))
		return 0;
	return (uint64_t)made.st_ino << 32 | (uint32_t)descriptor;
}

/* The process's descriptor of the log socket, opened if necessary; -1 if that fails. */
static int
log_descriptor(void)
{
	struct timeval wait = { .tv_sec = WAIT_SECONDS };
	uint64_t known = log_socket;
	int low, descriptor;

	if (known != 0 && identity((int)(uint32_t)known) == known)
		return (int)(uint32_t)known;

	if (log_address.sun_path[0] == '\0' || (low = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0)) < 0)
		return -1;
	descriptor = fcntl(low, F_DUPFD_CLOEXEC, LOWEST_DESCRIPTOR);
	if (descriptor < 0)
		descriptor = low; /* the limit on open files is too low */
	else
		close(low);
	if (setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof wait) != 0
	    || connect(descriptor, (struct sockaddr *)&log_address, sizeof log_address) != 0) {
		close(descriptor);
		return -1;
	}
	if (!atomic_compare_exchange_strong(&log_socket, &known, identity(descriptor))) {
		close(descriptor); /* another thread was first */
		return (int)(uint32_t)known;
	}
	return descriptor;
}

/*
 * The FIFO beside the socket has room for over a thousand lines, so its reader need not wake up for each one. A write of up
 * to PIPE_BUF octets is atomic (pipe(7)); each line ends with a NUL. Longer lines go to the socket.
 */
static _Atomic uint64_t log_fifo; /* as log_socket */

static int
fifo_descriptor(void)
{
	uint64_t known = log_fifo, fresh;
	char path[sizeof log_address.sun_path + sizeof ".fifo"];
	struct stat made;
	int low, descriptor;

	if (known != 0 && fstat((int)(uint32_t)known, &made) == 0 && S_ISFIFO(made.st_mode)
	    && (uint32_t)made.st_ino == known >> 32)
		return (int)(uint32_t)known;
	snprintf(path, sizeof path, "%s.fifo", log_address.sun_path);
	if (log_address.sun_path[0] == '\0' || (low = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC)) < 0)
		return -1; /* it does not exist, or nobody reads it */
	descriptor = fcntl(low, F_DUPFD_CLOEXEC, LOWEST_DESCRIPTOR);
	if (descriptor < 0)
		descriptor = low;
	else
		close(low);
	if (fstat(descriptor, &made) != 0 || !S_ISFIFO(made.st_mode)) {
		close(descriptor);
		return -1;
	}
	fresh = (uint64_t)(uint32_t)made.st_ino << 32 | (uint32_t)descriptor;
	if (!atomic_compare_exchange_strong(&log_fifo, &known, fresh)) {
		close(descriptor); /* another thread was first */
		return (int)(uint32_t)known;
	}
	return descriptor;
}

static double
seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static bool send_datagram(const char *line, size_t length);

/* Send one line; false if that fails, or does not succeed within about WAIT_SECONDS. */
static bool
send_whole(const char *line, size_t length)
{
	int descriptor = length < PIPE_BUF ? fifo_descriptor() : -1;
	char room[PIPE_BUF];
	double end;

	if (descriptor < 0)
		return send_datagram(line, length);
	memcpy(room, line, length);
	room[length] = '\0';
	for (end = seconds() + WAIT_SECONDS;;) {
		struct pollfd wait = { .fd = descriptor, .events = POLLOUT };
		double left = end - seconds();

		if (write(descriptor, room, length + 1) >= 0) {
			reader_is_stuck = false;
			return true;
		}
		if (errno == EINTR)
			continue;
		if (errno != EAGAIN)
			return send_datagram(line, length);
		if (reader_is_stuck || left <= 0)
			break;
		(void)poll(&wait, 1, (int)(left * 1000) + 1);
	}
	reader_is_stuck = true;
	return false;
}

/* Send one line over the socket; otherwise like send_whole(). */
static bool
send_datagram(const char *line, size_t length)
{
	const double start = seconds();
	bool connected_again = false;
	int descriptor = log_descriptor();

	if (descriptor < 0)
		return false;
	for (;;) {
		if (send(descriptor, line, length, MSG_NOSIGNAL | (reader_is_stuck ? MSG_DONTWAIT : 0)) >= 0) {
			reader_is_stuck = false;
			return true;
		}
		if (errno == EAGAIN) {
			reader_is_stuck = true;
			return false;
		}
		if (errno == EINTR) {
			if (seconds() - start > WAIT_SECONDS) {
				reader_is_stuck = true;
				return false;
			}
			continue;
		}
		/* the reader has closed the socket, and may have opened a new one at the same path */
		if (connected_again || connect(descriptor, (struct sockaddr *)&log_address, sizeof log_address) != 0)
			return false;
		connected_again = true;
	}
}

/* ---- syslog ---- */

static char ident[64] = "unknown";
static atomic_int default_facility = LOG_USER;

/* Send one line, preceded by the count of lines lost before it. */
static void
send_line(const char *line, size_t length)
{
	int pid = (int)getpid();
	unsigned lost;

	if (atomic_exchange(&lines_lost_by, pid) != pid)
		lines_lost = 0;
	lost = atomic_exchange(&lines_lost, 0);
	if (lost > 0) {
		char notice[160];
		int size = snprintf(notice, sizeof notice, "<%d>%s[%d]: postroad-preload: %u lines lost",
		    LOG_MAIL | LOG_WARNING, ident, pid, lost);

		if (!send_whole(notice, (size_t)size)) {
			lines_lost += lost + 1;
			return;
		}
	}
	if (!send_whole(line, length))
		lines_lost += 1;
}

/* Write the whole line into room; return its length, which may exceed size if it was cut. */
static size_t
format_line(char *room, size_t size, int priority, const char *format, va_list arguments)
{
	int error = errno;
	int start = snprintf(room, size, "<%d>%s[%d]: ", priority, ident, (int)getpid());
	int text;

	errno = error; /* for %m */
	text = vsnprintf(room + start, size - (size_t)start, format, arguments);
	return text < 0 ? 0 : (size_t)start + (size_t)text;
}

static size_t
without_newline(const char *line, size_t length)
{
	while (length > 0 && line[length - 1] == '\n')
		length--;
	return length;
}

/*
 * Whether a line of logdelivery() (deliver.c of sendmail 8.18.1) says that a recipient was neither served nor left for
 * later. An address or a reply may contain the text as well: each place has to say so.
 */
static bool
says_failed(const char *line)
{
	static const char STATUS[] = ", stat=";
	bool found = false;

	if (strstr(line, ": to=") == NULL)
		return false;
	while ((line = strstr(line, STATUS)) != NULL) {
		line += sizeof STATUS - 1;
		found = true;
		if (strncmp(line, "Sent", 4) != 0 && strncmp(line, "queued", 6) != 0)
			return true;
	}
	return !found; /* it was cut */
}

/* Whether a line, "<priority>ident[pid]: id: SYSERR(user): text", is that of returntosender(). */
static bool
says_no_room_for_bounce(const char *line)
{
	static const char ERROR[] = "SYSERR(", TEXT[] = "): returntosender: cannot select queue for ";

	for (int colons = 0; colons < 2; colons++) {
		if ((line = strstr(line, ": ")) == NULL)
			return false;
		line += 2;
	}
	if (strncmp(line, ERROR, sizeof ERROR - 1) != 0)
		return false;
	line += strcspn(line, ")");
	return strncmp(line, TEXT, sizeof TEXT - 1) == 0;
}

EXPORT void
vsyslog(int priority, const char *format, va_list arguments)
{
	int error = errno;
	char usual[USUAL_LENGTH];
	char *greater;
	va_list again;
	size_t length;

	if ((priority & LOG_FACMASK) == 0)
		priority |= default_facility;
	va_copy(again, arguments);
	length = format_line(usual, sizeof usual, priority, format, arguments);
	if (length < sizeof usual) {
		send_line(usual, without_newline(usual, length));
	} else {
		/* mmap() and not malloc(): see preload.h */
		greater = mmap(NULL, GREATEST_LENGTH, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (greater == MAP_FAILED) {
			send_line(usual, sizeof usual - 1);
		} else {
			errno = error;
			length = format_line(greater, GREATEST_LENGTH, priority, format, again);
			if (length >= GREATEST_LENGTH)
				length = GREATEST_LENGTH - 1;
			send_line(greater, without_newline(greater, length));
			munmap(greater, GREATEST_LENGTH);
		}
	}
	va_end(again);
	if (serves_client() && says_failed(usual))
		door_tell_failed();
	if (says_no_room_for_bounce(usual))
		_exit(EX_TEMPFAIL);
	errno = error;
}

EXPORT void
syslog(int priority, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vsyslog(priority, format, arguments);
	va_end(arguments);
}

/* Called by programs compiled with _FORTIFY_SOURCE, as Debian's are. */
EXPORT void __syslog_chk(int priority, int flag, const char *format, ...);
EXPORT void __vsyslog_chk(int priority, int flag, const char *format, va_list arguments);

EXPORT void
__syslog_chk(int priority, int flag, const char *format, ...)
{
	va_list arguments;

	(void)flag;
	va_start(arguments, format);
	vsyslog(priority, format, arguments);
	va_end(arguments);
}

EXPORT void
__vsyslog_chk(int priority, int flag, const char *format, va_list arguments)
{
	(void)flag;
	vsyslog(priority, format, arguments);
}

/* setlogmask() is not replaced, and libc's mask has no effect here: sendmail doesn't call it. */

EXPORT void
openlog(const char *name, int options, int facility)
{
	(void)options;
	if (name != NULL)
		snprintf(ident, sizeof ident, "%s", name);
	if (facility != 0 && (facility & ~LOG_FACMASK) == 0)
		default_facility = facility;
}

EXPORT void
closelog(void)
{
	/* the socket stays open: sendmail calls this, forks, and logs again */
}
