/*
 * Processes of the daemon:
 *
 *   fork(), wait() make a background delivery one fork instead of two, and none if too many deliveries are under way;
 *   exit()         in a forked child skips the libraries' exit handlers: one child per connection and one per message would
 *                  each free piece by piece what the kernel frees at once.
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

static pid_t started; /* the process that ran main(); its children have other ids */

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
 * To deliver a message in the background, the process that serves the client (a child of the daemon) forks, and its child
 * forks again and exits, so that nobody has to wait for the grandchild (sendall(), deliver.c). One fork is enough: a serving
 * process reaps its children in a SIGCHLD handler (reapchild()), and PID 1 reaps those it leaves behind. So the second
 * fork() returns at once in the first child, as if that were the grandchild, and the wait for it ends at once. A serving
 * process forks for nothing else here: there is no ETRN (PrivacyOptions) and no mailer that is a program.
 *
 * attempts.c limits how many deliveries may be under way. Further messages stay in the queue, and the front is told.
 */

enum { NOBODY = INT_MAX }; /* no process has this id (the kernel's PID_MAX_LIMIT is 4 million) */

static enum { DAEMON, SERVER, DELIVERY } role;
static bool is_second;   /* this process is a delivery that has not yet called the second fork() */
static pid_t not_waited; /* the delivery that this server need not wait for */

/* Whether the daemon has just accepted a client and now forks for it. */
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

	FIND_NEXT_OR_FAIL(fork);
	if (is_second) {
		is_second = false;
		return 0;
	}
	if (role == SERVER && !delivery_has_room()) {
		/* as if the child had exited at once: the message is in the queue, and nobody has locked it */
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

	if (waited > 0) { /* the SIGCHLD handler reaps the real child with waitpid() */
		not_waited = 0;
		if (status != NULL)
			*status = 0;
		return waited;
	}
	FIND_NEXT_OR_FAIL(wait);
	return next(status);
}

bool
serves_client(void)
{
	return role == SERVER;
}

/* ---- exit ---- */

/*
 * sendmail ends a child through finis() (main.c), which does everything durable before it calls exit(): it drops the
 * envelope or leaves it in the queue (dropenvelope() writes, syncs, renames and unlinks its files by system calls), sends QUIT
 * on cached connections (mci_flush()), and closes maps and queue locks. Only the registered handlers remain for exit():
 * sendmail's, which flushes its file buffers (sm_cleanup(), libsm/findfp.c), among them the last answer to a client; and
 * those of libraries, mainly OpenSSL, which free memory. A child runs the first kind and leaves the second to the kernel. The
 * daemon itself, and any program that has not forked, exits as usual.
 */

enum { MOST_HANDLERS = 32 };

static struct {
	void (*call)(void *);
	void *argument;
} handlers[MOST_HANDLERS]; /* the program's own handlers, each once */
static int handler_count; /* above MOST_HANDLERS: some did not fit */

/* Whether code belongs to the program itself, not to a library. */
static bool
is_own(const void *code)
{
	Dl_info program, owner;

	return dladdr((void *)getauxval(AT_ENTRY), &program) != 0 && dladdr(code, &owner) != 0
	    && program.dli_fbase == owner.dli_fbase;
}

EXPORT int __cxa_atexit(void (*call)(void *), void *argument, void *library);

/* atexit() calls this. */
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
