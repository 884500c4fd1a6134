/*
 * Limits password guessing. Each answer of SASL's passes through here, so the limit applies at the moment of the answer, at
 * every listener and in sessions that are already open.
 *
 *   sasl_server_start(), sasl_server_step()  tell the supervisor about each attempt. It answers whether this client has to
 *                  wait; if so, even the right password is refused. If the supervisor does not answer, nobody gets in.
 *
 *   client_may_come_in()  asks the supervisor before sendmail forks for a client of its own listeners: a crowd of clients
 *                  would use up all memory.
 *
 * A session ends at its third wrong password: sendmail answers, and then reads the end of its input. If the client's next
 * command has already arrived, the kernel still delivers it, and the next attempt ends the session.
 *
 * Rules as in preload.h. sendmail serves each client in a separate process, so the variables here belong to one session.
 */

#define _GNU_SOURCE

#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "preload.h"

/* sasl/sasl.h */
enum { SASL_OK = 0, SASL_CONTINUE = 1, SASL_BADAUTH = -13, SASL_UNAVAIL = -24 };
typedef struct sasl_conn sasl_conn_t;
typedef int start_function(sasl_conn_t *, const char *, const char *, unsigned, const char **, unsigned *);
typedef int step_function(sasl_conn_t *, const char *, unsigned, const char **, unsigned *);
EXPORT start_function sasl_server_start;
EXPORT step_function sasl_server_step;

enum {
	MOST_FAILURES = 3,
	LONGEST_NAME = 256, /* of a user; longer names are cut, for the count only */
	WAIT_SECONDS = 5,
};

static struct sockaddr_un supervisor = { .sun_family = AF_UNIX };
static int failures;
static bool is_within;            /* inside sasl_server_start(), which itself calls sasl_server_step() */
static bool is_plain;             /* the mechanism is PLAIN; else LOGIN, whose first answer is the name */
static char user[LONGEST_NAME + 1];

/* The socket is beside the log's. Runs before main(), where sendmail clears its environment at once. */
__attribute__((constructor)) static void
find_supervisor(void)
{
	const char *log = getenv("POSTROAD_LOG_SOCKET");
	const char *slash = log == NULL ? NULL : strrchr(log, '/');

	if (slash != NULL && (size_t)(slash - log) + sizeof "/rates" <= sizeof supervisor.sun_path)
		sprintf(supervisor.sun_path, "%.*s/rates", (int)(slash - log), log);
}

/* The client's numeric address, by which the supervisor counts it. */
static bool
client_address(char *text, socklen_t size)
{
	struct sockaddr_storage peer;
	socklen_t length = sizeof peer;

	if (getpeername(accepted, (struct sockaddr *)&peer, &length) != 0)
		return false;
	if (peer.ss_family == AF_INET)
		return inet_ntop(AF_INET, &((struct sockaddr_in *)&peer)->sin_addr, text, size) != NULL;
	if (peer.ss_family == AF_INET6)
		return inet_ntop(AF_INET6, &((struct sockaddr_in6 *)&peer)->sin6_addr, text, size) != NULL;
	return false;
}

/* Send a question as a netstring and read the answer; false if none comes. */
static bool
ask(const char *question, char *answer, size_t size)
{
	struct timeval patience = { .tv_sec = WAIT_SECONDS };
	char text[LONGEST_NAME + INET6_ADDRSTRLEN + 64];
	int length = snprintf(text, sizeof text, "%zu:%s,", strlen(question), question);
	int descriptor = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	size_t got = 0;
	bool whole = false;

	if (descriptor < 0)
		return false;
	setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
	setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
	if (length < (int)sizeof text && connect(descriptor, (struct sockaddr *)&supervisor, sizeof supervisor) == 0
	    && send(descriptor, text, (size_t)length, MSG_NOSIGNAL) == length)
		while (got < size - 1) {
			ssize_t more = recv(descriptor, answer + got, size - 1 - got, 0);
			if (more <= 0)
				break;
			got += (size_t)more;
			if (answer[got - 1] == ',') {
				whole = true;
				break;
			}
		}
	answer[got] = '\0';
	close(descriptor);
	return whole;
}

bool
client_may_come_in(void)
{
	static const char REFUSAL[] = "421 4.3.2 too many connections at once, all clients together: try again later\r\n";
	char address[INET6_ADDRSTRLEN], question[sizeof address + 16], answer[32];
	int error = errno;
	bool may = true;

	if (client_address(address, sizeof address)) {
		snprintf(question, sizeof question, "knock %s", address);
		/* without an answer the client is let in: sendmail's rules ask again, and refuse */
		may = !ask(question, answer, sizeof answer) || strcmp(answer, "6:OK ALL,") != 0;
	}
	if (!may)
		(void)send(accepted, REFUSAL, sizeof REFUSAL - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
	errno = error;
	return may;
}

/* The result to return for an attempt that SASL has judged with ``result``. */
static int
judged(int result)
{
	char address[INET6_ADDRSTRLEN], question[sizeof address + LONGEST_NAME + 16], answer[32];
	int error = errno;

	if (!client_address(address, sizeof address)) {
		result = SASL_UNAVAIL;
	} else {
		snprintf(question, sizeof question, "guess %s %s %s", address, result == SASL_OK ? "right" : "wrong", user);
		if (!ask(question, answer, sizeof answer))
			result = SASL_UNAVAIL;
		else if (strcmp(answer, "7:OK FREE,") != 0)
			result = SASL_BADAUTH;
	}
	if (result != SASL_OK && ++failures >= MOST_FAILURES)
		shutdown(accepted, SHUT_RD);
	errno = error;
	return result;
}

/* Whether the session has used up its wrong passwords: then any further attempt ends it without an answer. */
static bool
is_over(void)
{
	int error = errno;

	if (failures >= MOST_FAILURES)
		shutdown(accepted, SHUT_RDWR);
	errno = error;
	return failures >= MOST_FAILURES;
}

/* Keep the user's name, with spaces and control characters replaced so that it stays one word. */
static void
name(const char *text, size_t length)
{
	size_t kept = 0;

	for (size_t i = 0; i < length && kept < LONGEST_NAME; i++)
		user[kept++] = text[i] > ' ' && text[i] < 127 ? text[i] : '?';
	user[kept] = '\0';
}

/* PLAIN (RFC 4616): authorization identity, NUL, user, NUL, password. */
static void
name_in_plain(const char *message, unsigned length)
{
	const char *first = message == NULL ? NULL : memchr(message, '\0', length);
	const char *second = first == NULL ? NULL : memchr(first + 1, '\0', length - (size_t)(first + 1 - message));

	if (second != NULL)
		name(first + 1, (size_t)(second - first - 1));
}

EXPORT int
sasl_server_start(sasl_conn_t *session, const char *mechanism, const char *in, unsigned in_length, const char **out,
    unsigned *out_length)
{
	static start_function *next;
	int result;

	FIND_NEXT(sasl_server_start);
	if (next == NULL || is_over())
		return SASL_BADAUTH;
	user[0] = '\0';
	is_plain = strcasecmp(mechanism, "PLAIN") == 0;
	if (is_plain)
		name_in_plain(in, in_length);
	else if (in != NULL && in_length > 0)
		name(in, in_length);
	is_within = true;
	result = next(session, mechanism, in, in_length, out, out_length);
	is_within = false;
	return result == SASL_CONTINUE ? result : judged(result);
}

EXPORT int
sasl_server_step(sasl_conn_t *session, const char *in, unsigned in_length, const char **out, unsigned *out_length)
{
	static step_function *next;
	int result;

	FIND_NEXT(sasl_server_step);
	if (next != NULL && is_within)
		return next(session, in, in_length, out, out_length);
	if (next == NULL || is_over())
		return SASL_BADAUTH;
	if (is_plain)
		name_in_plain(in, in_length);
	else if (user[0] == '\0' && in != NULL)
		name(in, in_length);
	result = next(session, in, in_length, out, out_length);
	return result == SASL_CONTINUE ? result : judged(result);
}
