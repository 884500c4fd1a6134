/* What doors.c and attempts.c offer the rest of the library. */

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
 * Deliveries in processes of their own (attempts.c). The process that serves a client asks whether there is room for one more,
 * before it forks; else it tells the front which messages it leaves in the queue: those whose control files ("qf" and the
 * id) it has saved since it last asked. A new process says that it is one.
 */
bool delivery_has_room(void);
void delivery_awaits(const char *name);
void delivery_put_off(void);
void delivery_begins(void);

/*
 * Whether the client that was just accepted gets a process (auth.c): the supervisor counts those at sendmail's own doors. false:
 * there are too many, and it has been told.
 */
bool client_may_come_in(void);
