/* What doors.c, attempts.c and uplink.c offer the rest of the library. */

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

/* connect(2). */
typedef int connect_call(int, const struct sockaddr *, socklen_t);

/*
 * Connect to the uplink where the address is one of its own (uplink.c). false: it is another, and nothing was done. true:
 * *result is what connect() returns, with errno set.
 */
bool uplink_connect(int descriptor, const struct sockaddr *peer, socklen_t length, connect_call *next, int *result);

/* The name that a connection's other end has, where that is the uplink: an address of its own in place of a path (uplink.c). */
void uplink_name(struct sockaddr *name, socklen_t *length);
