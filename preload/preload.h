/*
 * Preloaded into sendmail, so that it can run without privileges and without a host name or a syslog daemon that someone
 * else has to provide, and keeps promises that it does not keep by itself. Each file says which functions it takes over.
 *
 * Rules for everything in here. No locks and no malloc(): sendmail logs from signal handlers, some of which siglongjmp()
 * away. errno is left as it was found. Nothing holds up mail.
 *
 * gcc -O2 -fPIC -shared -fvisibility=hidden -Wall -Wextra -Werror -o preload.so *.c, without absent.c
 */

#ifndef POSTROAD_PRELOAD_H
#define POSTROAD_PRELOAD_H

#include <stdbool.h>
#include <sys/socket.h>
#include <sys/types.h>

#define EXPORT __attribute__((visibility("default")))

/*
 * Accept at a listening socket that is an inner door. false: it is none, and nothing was done. true: *accepted is the
 * client's descriptor, or -1 with errno set.
 */
bool door_accept(int descriptor, struct sockaddr *peer, socklen_t *length, int *accepted);

/* The control file of this name ("qf" and the id) is on the disk: tell whoever is at the other end, if it asked to know. */
void door_tell_saved(const char *name);

/*
 * Write to a receiver (attempts.c). false: the descriptor is no connection to one, and nothing was done. true: *sent is what
 * write() returns, with errno set.
 */
bool attempt_write(int descriptor, const void *buffer, size_t size, ssize_t *sent);

/* A connection to a receiver is made. */
void attempt_begin(int descriptor, const struct sockaddr *peer);

/* A message is done: whatever connection is used next is used for another one. */
void attempts_begin_anew(void);

/*
 * Look a name up that may be one of the uplink's (uplink.c). false: it is another. true: *found is what gethostbyname2() returns,
 * with h_errno set.
 */
struct hostent;
bool uplink_host(const char *name, int family, struct hostent **found);

/* connect(2). */
typedef int connect_call(int, const struct sockaddr *, socklen_t);

/*
 * Connect to the uplink where the address is one of its own (uplink.c). false: it is another, and nothing was done. true:
 * *result is what connect() returns, with errno set.
 */
bool uplink_connect(int descriptor, const struct sockaddr *peer, socklen_t length, connect_call *next, int *result);

/* The name that a connection's other end has, where that is the uplink: an address of its own in place of a path (uplink.c). */
void uplink_name(struct sockaddr *name, socklen_t *length);

/*
 * Deliveries in processes of their own (attempts.c). The process that serves a client asks whether there is room for one more,
 * before it forks; else it tells the front which messages it leaves in the queue: those whose control files ("qf" and the
 * id) it has saved since it last asked. A new process says that it is one.
 */
bool delivery_has_room(void);
void delivery_awaits(const char *name);
void delivery_put_off(void);
void delivery_begins(void);

/* The version of sendmail that all of this was read in: headers.c ends any other, at the image's build already. */
#define READ_IN "8.18.1"

/* The last client's descriptor (sockets.c); -1: none yet. */
extern int accepted;

/* Whether this process was forked by the one that began with main() (processes.c). */
bool is_child(void);

/* Whether this process serves a client, and is no delivery of its message (processes.c). */
bool serves_client(void);

/*
 * Whether the client that was just accepted gets a process (auth.c): the supervisor counts those at sendmail's own listeners. false:
 * there are too many, and it has been told.
 */
bool client_may_come_in(void);

#endif
