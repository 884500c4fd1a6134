/*
 * Preloaded into sendmail, so that sendmail runs without privileges, without a host name and without a syslog daemon, and
 * keeps promises that it does not keep by itself. Each file says which functions it replaces.
 *
 * Rules for all of it: No locks and no malloc(), because sendmail logs from signal handlers, some of which siglongjmp()
 * away. Leave errno unchanged. Never hold up mail.
 *
 * gcc -O2 -fPIC -shared -fvisibility=hidden -Wall -Wextra -Werror -o preload.so *.c, without absent.c and exit_status.c
 */

#ifndef POSTROAD_PRELOAD_H
#define POSTROAD_PRELOAD_H

#include <dlfcn.h>
#include <errno.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <sys/types.h>

#define EXPORT __attribute__((visibility("default")))

/* Find the C library's own function of this name, once; "next", a static variable of the calling function, points to it. */
#define FIND_NEXT(function) \
	do { \
		if (next == NULL) \
			*(void **)&next = dlsym(RTLD_NEXT, #function); \
	} while (0)

/* The same; if there is none, the calling function returns -1 with ENOSYS. */
#define FIND_NEXT_OR_FAIL(function) \
	do { \
		FIND_NEXT(function); \
		if (next == NULL) { \
			errno = ENOSYS; \
			return -1; \
		} \
	} while (0)

/*
 * Accept a client at an inner door (doors.c). false: the listening socket is not an inner door, and nothing was done. true:
 * *accepted is the client's descriptor, or -1 with errno set.
 */
bool door_accept(int descriptor, struct sockaddr *peer, socklen_t *length, int *accepted);

/* Tell the other end of the session, if it asked for that, that the control file of this name ("qf" and the id) is on disk. */
void door_tell_saved(const char *name);

/* Tell it likewise that a delivery by this session failed: what sendmail remembers of that receiver ends with the session. */
void door_tell_failed(void);

/*
 * Write to a receiver (attempts.c). false: the descriptor is not a connection to a receiver, and nothing was done. true: *sent
 * is the result of write(), with errno set.
 */
bool attempt_write(int descriptor, const void *buffer, size_t size, ssize_t *sent);

/* Begin an attempt: a connection to a receiver is being made. */
void attempt_begin(int descriptor, const struct sockaddr *peer);

/* End the attempts of a message that is done: any further use of a connection is a new attempt. */
void attempts_begin_anew(void);

/*
 * Look up a name of the uplink (uplink.c). false: the name is another. true: *found is the result of gethostbyname2(), with
 * h_errno set.
 */
struct hostent;
bool uplink_host(const char *name, int family, struct hostent **found);

/* connect(2). */
typedef int connect_call(int, const struct sockaddr *, socklen_t);

/*
 * Connect to the uplink (uplink.c). false: the address is not one of the uplink's, and nothing was done. true: *result is the
 * result of connect(), with errno set.
 */
bool uplink_connect(int descriptor, const struct sockaddr *peer, socklen_t length, connect_call *next, int *result);

/* Replace the peer name of a connection to the uplink, a path, by an address of the uplink's (uplink.c). */
void uplink_name(struct sockaddr *name, socklen_t *length);

/*
 * Deliveries in separate processes (attempts.c). Before it forks, the process that serves a client asks whether there is room
 * for one more (delivery_has_room). If not, it tells the front which messages it leaves in the queue (delivery_put_off):
 * those whose control files ("qf" and the id) it has saved since it last asked (delivery_awaits). A new delivery process
 * registers itself (delivery_begins).
 */
bool delivery_has_room(void);
void delivery_awaits(const char *name);
void delivery_put_off(void);
void delivery_begins(void);

/* Whether this process runs sendmail itself (headers.c). */
bool is_sendmail(void);

/* The version of sendmail whose source all of this was written against: with another one headers.c ends the image's build. */
#define READ_IN "8.18.1"

/*
 * Begin a verdict of the rules on a recipient (verdicts.c). false: the name is one of a user. true: it is the one by which a
 * ruleset says that it is about to judge; no user has it.
 */
bool verdict_begins(const char *name);

/* The descriptor of the last accepted client (sockets.c); -1: none yet. */
extern int accepted;

/* Whether this process is a forked child of the one that ran main() (processes.c). */
bool is_child(void);

/* Whether this process serves a client, and is not the delivery of that client's message (processes.c). */
bool serves_client(void);

/*
 * Whether the client that was just accepted gets a process (auth.c): the supervisor counts the clients of sendmail's own
 * listeners. false: there are too many, and the client has been told.
 */
bool client_may_come_in(void);

#endif
