/*
 * Processes of the daemon:
 *
 *   fork(), wait() make the delivery of a message in the background one fork and not two, and none where too many are under way;
 *   exit()         in a forked child leaves out what libraries do at the end: a child a connection and one a message would
 *                  each free, one by one, what the kernel frees at once.
 *
 * Read in sendmail 8.18.1: sendall() in deliver.c, reapchild() in util.c, finis() in main.c, sm_cleanup() in libsm/findfp.c.
 */

#define _GNU_SOURCE

#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/auxv.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "preload.h"

static pid_t started; /* the process that began with main(); its children have others */

__attribute__((constructor)) static void
remember_process(void)
{
	started = getpid();
}

bool
is_child(void)
{
	return getpid() != started;
}

/* ---- forks ---- */

/*
 * To deliver a message in the background, the process that serves its client (and is the daemon's child) forks, and that
 * process forks once more and ends, so that nobody has to wait for the second (sendall(), deliver.c). One is enough: who
 * serves clients reaps whatever ends, in a handler of SIGCHLD (reapchild()), and of whom it leaves behind, PID 1 takes care.
 * So the first child takes itself for the second, and the wait for it ends at once. No process that serves a client forks for
 * anything else here: there is no ETRN (PrivacyOptions) and no mailer that is a program.
 *
 * So many deliveries may be under way as attempts.c says. What is beyond that stays in the queue, and the front is told.
 */

enum { NOBODY = INT_MAX }; /* no process has this number (PID_MAX_LIMIT of the kernel is 4 million) */

static enum { DAEMON, SERVER, DELIVERY } role;
static bool is_second;   /* this process is a delivery, and has not yet come to the second fork() */
static pid_t not_waited; /* the delivery that this server need not wait for */

/* Whether the daemon has just accepted a client, for whom it now forks. */
static bool
has_client(void)
{
	struct sockaddr_storage peer;
	socklen_t length = sizeof peer;
	int error = errno;
	bool has = accepted >= 0 && getpeername(accepted, (struct sockaddr *)&peer, &length) == 0
	    && (peer.ss_family == AF_INET || peer.ss_family == AF_INET6);

	errno = error;
	return has;
}

EXPORT pid_t
fork(void)
{
	static pid_t (*next)(void);
	bool for_client = role == DAEMON && has_client();
	pid_t child;

	if (next == NULL)
		*(void **)&next = dlsym(RTLD_NEXT, "fork");
	if (next == NULL) {
		errno = ENOSYS;
		return -1;
	}
	if (is_second) {
		is_second = false;
		return 0;
	}
	if (role == SERVER && !delivery_has_room()) {
		/* as if the child had ended before it began: the message is in the queue, and nobody holds it */
		delivery_put_off();
		return not_waited = NOBODY;
	}
	child = next();
	if (child == 0) {
		not_waited = 0;
		is_second = role == SERVER;
		if (role == SERVER)
			delivery_begins();
		role = for_client ? SERVER : role == SERVER ? DELIVERY : role;
	} else if (child > 0 && role == SERVER) {
		not_waited = child;
	}
	return child;
}

EXPORT pid_t
wait(int *status)
{
	static pid_t (*next)(int *);
	pid_t waited = not_waited;

	if (waited > 0) { /* its real end is for the handler, which calls waitpid() */
		not_waited = 0;
		if (status != NULL)
			*status = 0;
		return waited;
	}
	if (next == NULL)
		*(void **)&next = dlsym(RTLD_NEXT, "wait");
	if (next == NULL) {
		errno = ENOSYS;
		return -1;
	}
	return next(status);
}

bool
serves_client(void)
{
	return role == SERVER;
}

/* ---- the end ---- */

/*
 * sendmail ends a child through finis() (main.c), which does all that lasts before it calls exit(): the envelope is dropped
 * or stays in the queue (dropenvelope(): its files are written, synced, renamed and unlinked by system calls), cached
 * connections get their QUIT (mci_flush()), maps and the queue's locks are closed. Left to exit() is what was registered
 * for it: by sendmail, that the buffers of its files are written (sm_cleanup(), libsm/findfp.c), among them the last
 * answer to a client; by libraries, that memory is freed, OpenSSL's above all. A child does the first and leaves the
 * second to the kernel. The daemon itself, and any program that has not forked, ends as it would.
 */

enum { MOST_HANDLERS = 32 };

static struct {
	void (*call)(void *);
	void *argument;
} handlers[MOST_HANDLERS]; /* those of the program itself, each once */
static int handler_count; /* above MOST_HANDLERS: they did not fit */

/* Whether code is the program's own, and no library's. */
static bool
is_own(const void *code)
{
	Dl_info program, owner;

	return dladdr((void *)getauxval(AT_ENTRY), &program) != 0 && dladdr(code, &owner) != 0
	    && program.dli_fbase == owner.dli_fbase;
}

EXPORT int __cxa_atexit(void (*call)(void *), void *argument, void *library);

/* What atexit() is made of. */
EXPORT int
__cxa_atexit(void (*call)(void *), void *argument, void *library)
{
	int (*next)(void (*)(void *), void *, void *) = NULL;
	int i;

	*(void **)&next = dlsym(RTLD_NEXT, "__cxa_atexit");
	if (next == NULL)
		return -1;
	if (is_own(*(void **)&call)) {
		for (i = 0; i < handler_count && i < MOST_HANDLERS; i++)
			if (handlers[i].call == call && handlers[i].argument == argument)
				return next(call, argument, library);
		if (handler_count < MOST_HANDLERS) {
			handlers[handler_count].call = call;
			handlers[handler_count].argument = argument;
		}
		handler_count++;
	}
	return next(call, argument, library);
}

EXPORT _Noreturn void
exit(int status)
{
	__attribute__((noreturn)) void (*next)(int) = NULL;

	if (!is_child() || handler_count > MOST_HANDLERS) {
		*(void **)&next = dlsym(RTLD_NEXT, "exit");
		if (next != NULL)
			next(status);
	}
	while (handler_count > 0) {
		handler_count--;
		handlers[handler_count].call(handlers[handler_count].argument);
	}
	_exit(status);
}
