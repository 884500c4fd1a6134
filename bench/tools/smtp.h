/* What the generator and the sink share: the clock, options in numbers, lines of a connection. */

#define _GNU_SOURCE

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>

enum {
	LINE_SIZE = 4096, /* a line of SMTP is 1,000 at most (RFC 5321, 4.5.3.1.6) */
	STACK_SIZE = 256 * 1024,
	PATIENCE_SECONDS = 120, /* for one answer: more than a message waits behind 200 others */
};

/* Nanoseconds since the epoch: both programs' host has one clock. */
static inline int64_t
now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_REALTIME, &time);
	return time.tv_sec * INT64_C(1000000000) + time.tv_nsec;
}

static inline void
pause_ns(int64_t duration)
{
	struct timespec time = { .tv_sec = duration / 1000000000, .tv_nsec = duration % 1000000000 };

	while (duration > 0 && nanosleep(&time, &time) != 0 && errno == EINTR)
		;
}

static inline void __attribute__((noreturn, format(printf, 1, 2)))
die(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vfprintf(stderr, format, arguments);
	va_end(arguments);
	fputc('\n', stderr);
	exit(1);
}

static inline long
number(const char *text)
{
	char *end;
	long value = strtol(text, &end, 10);

	if (end == text || *end != '\0' || value < 0)
		die("not a number: %s", text);
	return value;
}

static inline void *
must(void *memory)
{
	if (memory == NULL)
		die("out of memory");
	return memory;
}

struct connection {
	int socket;
	SSL *tls; /* NULL: clear text */
	char buffer[16384];
	size_t filled, taken;
};

static inline void
prepare_socket(int socket)
{
	int one = 1;
	struct timeval patience = { .tv_sec = PATIENCE_SECONDS };

	setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
	setsockopt(socket, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
}

/* Read a line with its end into room, cut where it is longer; its length, 0 at the connection's end. */
static inline size_t
read_line(struct connection *c, char *room, size_t size)
{
	size_t length = 0;

	for (;;) {
		while (c->taken < c->filled) {
			char byte = c->buffer[c->taken++];

			if (length < size - 1)
				room[length++] = byte;
			if (byte == '\n') {
				room[length] = '\0';
				return length;
			}
		}
		ssize_t got = c->tls != NULL ? SSL_read(c->tls, c->buffer, sizeof c->buffer)
		                             : recv(c->socket, c->buffer, sizeof c->buffer, 0);
		if (got <= 0)
			return 0;
		c->filled = (size_t)got;
		c->taken = 0;
	}
}

static inline bool
write_all(struct connection *c, const char *text, size_t length)
{
	while (length > 0) {
		ssize_t sent = c->tls != NULL ? SSL_write(c->tls, text, (int)length)
		                              : send(c->socket, text, length, MSG_NOSIGNAL);
		if (sent <= 0)
			return false;
		text += sent;
		length -= (size_t)sent;
	}
	return true;
}

static inline bool
write_text(struct connection *c, const char *text)
{
	return write_all(c, text, strlen(text));
}
