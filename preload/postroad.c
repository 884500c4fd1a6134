/*
 * Preloaded into sendmail, so that it can run without privileges and without a host name or a syslog
 * daemon that someone else has to provide, and serves a whole chain:
 *
 *   gethostname()  answers POSTROAD_FQDN (sendmail sleeps for 60 s at start where the host's name has no dot);
 *   syslog()       and its relatives send a line a message, "<priority>ident[pid]: text", to the FIFO beside the unix socket
 *                  POSTROAD_LOG_SOCKET, or as a datagram to that (they can't make /dev/log);
 *   getpwuid(), getpwnam(), getgrnam()  answer for a user that /etc/passwd does not have, such as OpenShift gives a
 *                  container: it is the one user that the image's files mean, smmta;
 *   SSL_CTX_load_verify_locations(), SSL_load_client_CA_file()  read the trusted authorities once, in the daemon: each
 *                  of its children that begins an encrypted connection would read some 140 certificates again;
 *   SSL_CTX_use_certificate_file()  takes the certificates of the issuers from the file, too: sendmail would send its
 *                  own only, and clients could not verify what an intermediate authority has signed;
 *   gethostbyaddr()  knows no names: sendmail would ask the DNS who each client is before it answers;
 *   connect(), accept()  make TCP send at once: sendmail writes a message in pieces of 4 KB, and the last one would wait
 *                  until the receiver has acknowledged those before, which receivers put off by some 40 ms;
 *   write()        tells a client that sends AUTH in clear text what to do, where sendmail says "AUTH not available";
 *   fork(), wait() make the delivery of a message in the background one fork and not two;
 *   exit()         in a forked child leaves out what libraries do at the end: a child a connection and one a message would
 *                  each free, one by one, what the kernel frees at once;
 *   connect(), read(), write()  also end each session with a receiver within a time (attempts.c);
 *   bind(), accept(), getpeername(), getsockname()  also know inner doors (doors.c);
 *   gethostbyname2(), gethostbyname(), connect()  also know the uplink (uplink.c);
 *   fsync(), unlink()  also save the names of new files in the queue, and delete a message in the order that leaves
 *                  none without its body, whenever the power fails.
 *
 * Rules for everything in here. Logging never holds up mail: a full socket is waited for once, for a second, and
 * after that lines are dropped and counted until one gets through. No locks and no malloc(): sendmail logs from signal
 * handlers, some of which siglongjmp() away. errno is left as it was found.
 *
 * gcc -O2 -fPIC -shared -fvisibility=hidden -Wall -Wextra -Werror -o preload.so postroad.c auth.c headers.c doors.c attempts.c uplink.c
 */

#define _GNU_SOURCE
#undef _FORTIFY_SOURCE /* its syslog() is an inline function, which can't be defined a second time */

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/utsname.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include "doors.h"

enum {
	USUAL_LENGTH = 2048,     /* sendmail cuts its own lines at 1 KB */
	GREATEST_LENGTH = 65536, /* well under what a unix datagram may hold */
	LOWEST_DESCRIPTOR = 200, /* out of the way: programs close and reuse the low ones */
	WAIT_SECONDS = 1,
};

/* ---- what the environment says ---- */

static char fqdn[256]; /* a DNS name has at most 253 characters */
static struct sockaddr_un log_address = { .sun_family = AF_UNIX };
static char no_auth[512]; /* an SMTP answer with its line end (RFC 5321, section 4.5.3.1.5) */

/* sendmail empties its environment first thing in main(), so both are read before that. */
__attribute__((constructor)) static void
read_environment(void)
{
	const char *name = getenv("POSTROAD_FQDN");
	const char *path = getenv("POSTROAD_LOG_SOCKET");
	const char *answer = getenv("POSTROAD_NO_AUTH");

	if (name != NULL && strlen(name) < sizeof fqdn)
		strcpy(fqdn, name);
	if (path != NULL && strlen(path) < sizeof log_address.sun_path)
		strcpy(log_address.sun_path, path);
	if (answer != NULL && strlen(answer) < sizeof no_auth - 2)
		sprintf(no_auth, "%s\r\n", answer);
}

/* ---- the host's name ---- */

EXPORT int
gethostname(char *name, size_t size)
{
	struct utsname system;
	const char *answer = fqdn;
	size_t needed;

	if (*answer == '\0') {
		if (uname(&system) != 0)
			return -1;
		answer = system.nodename;
	}
	needed = strlen(answer) + 1;
	memcpy(name, answer, needed <= size ? needed : size);
	if (needed > size) { /* as glibc does: a cut, unterminated name and an error */
		errno = ENAMETOOLONG;
		return -1;
	}
	return 0;
}

EXPORT int __gethostname_chk(char *name, size_t size, size_t room);

EXPORT int
__gethostname_chk(char *name, size_t size, size_t room)
{
	return gethostname(name, size < room ? size : room);
}

/* Nothing is decided by a client's name here, and a DNS that does not answer would keep the app waiting. */
EXPORT struct hostent *
gethostbyaddr(const void *address, socklen_t length, int family)
{
	(void)address, (void)length, (void)family;
	h_errno = HOST_NOT_FOUND;
	return NULL;
}

/* ---- who this is ---- */

#define USER "smmta"

/* The C library's own of these functions, which asks /etc/passwd and /etc/group. */
#define NEXT(function, argument) \
	do { \
		if (next == NULL) \
			*(void **)&next = dlsym(RTLD_NEXT, #function); \
		found = next == NULL ? NULL : next(argument); \
	} while (0)

static struct passwd *
own_entry(void)
{
	static struct passwd entry = { .pw_name = USER, .pw_passwd = "x", .pw_gecos = "",
		.pw_dir = "/var/lib/postroad", .pw_shell = "/usr/sbin/nologin" };

	entry.pw_uid = getuid();
	entry.pw_gid = getgid();
	return &entry;
}

EXPORT struct passwd *
getpwuid(uid_t uid)
{
	static struct passwd *(*next)(uid_t);
	struct passwd *found;

	NEXT(getpwuid, uid);
	return found == NULL && uid == getuid() ? own_entry() : found;
}

/* Whether nobody in /etc/passwd is running this: then the name that the configuration has is this one's. */
static bool
is_stranger(void)
{
	return getpwuid(getuid()) == own_entry();
}

EXPORT struct passwd *
getpwnam(const char *name)
{
	static struct passwd *(*next)(const char *);
	struct passwd *found;

	if (strcmp(name, USER) == 0 && is_stranger())
		return own_entry();
	NEXT(getpwnam, name);
	return found;
}

EXPORT struct group *
getgrnam(const char *name)
{
	static char *members[] = { NULL };
	static struct group entry = { .gr_name = USER, .gr_passwd = "x", .gr_mem = members };
	static struct group *(*next)(const char *);
	struct group *found;

	if (strcmp(name, USER) == 0 && is_stranger()) {
		entry.gr_gid = getgid();
		return &entry;
	}
	NEXT(getgrnam, name);
	return found;
}

/* ---- the certificate's chain ---- */

/* OpenSSL's, but as the preload needs none of its headers: SSL_CTX is opaque */
EXPORT int SSL_CTX_use_certificate_file(void *context, const char *file, int type);

EXPORT int
SSL_CTX_use_certificate_file(void *context, const char *file, int type)
{
	int (*whole)(void *, const char *) = NULL;

	(void)type; /* PEM: sendmail asks for nothing else */
	*(void **)&whole = dlsym(RTLD_DEFAULT, "SSL_CTX_use_certificate_chain_file");
	return whole == NULL ? 0 : whole(context, file);
}

/* ---- the trusted authorities ---- */

/* What the process that began with main() has read, for its children; an exec(), as at a reload, reads anew. */
static struct {
	char file[256], folder[256];
	void *store; /* X509_STORE */
} authorities;

static pid_t started; /* the process that began with main(); its children have others */

__attribute__((constructor)) static void
remember_process(void)
{
	started = getpid();
}

static bool
is_same(const char *known, const char *path)
{
	return strcmp(known, path == NULL ? "" : path) == 0;
}

EXPORT int SSL_CTX_load_verify_locations(void *context, const char *file, const char *folder);

EXPORT int
SSL_CTX_load_verify_locations(void *context, const char *file, const char *folder)
{
	int (*next)(void *, const char *, const char *) = NULL, (*hold)(void *) = NULL, done;
	void (*share)(void *, void *) = NULL;
	void *(*store_of)(const void *) = NULL;

	*(void **)&next = dlsym(RTLD_NEXT, "SSL_CTX_load_verify_locations");
	*(void **)&hold = dlsym(RTLD_DEFAULT, "X509_STORE_up_ref");
	*(void **)&share = dlsym(RTLD_DEFAULT, "SSL_CTX_set1_cert_store");
	*(void **)&store_of = dlsym(RTLD_DEFAULT, "SSL_CTX_get_cert_store");
	if (next == NULL)
		return 0;
	if (getpid() != started && authorities.store != NULL && share != NULL
	    && is_same(authorities.file, file) && is_same(authorities.folder, folder)) {
		share(context, authorities.store);
		return 1;
	}
	done = next(context, file, folder);
	if (done == 1 && getpid() == started && authorities.store == NULL && hold != NULL && store_of != NULL
	    && (size_t)snprintf(authorities.file, sizeof authorities.file, "%s", file == NULL ? "" : file) < sizeof authorities.file
	    && (size_t)snprintf(authorities.folder, sizeof authorities.folder, "%s", folder == NULL ? "" : folder)
	        < sizeof authorities.folder
	    && hold(store_of(context)) == 1)
		authorities.store = store_of(context);
	return done;
}

EXPORT void *SSL_load_client_CA_file(const char *file);

/* The names that a server asks clients' certificates for: a client, which a child with a context of its own is, has none. */
EXPORT void *
SSL_load_client_CA_file(const char *file)
{
	void *(*next)(const char *) = NULL, *(*none)(void) = NULL;

	*(void **)&none = dlsym(RTLD_DEFAULT, "OPENSSL_sk_new_null");
	if (getpid() != started && none != NULL)
		return none();
	*(void **)&next = dlsym(RTLD_NEXT, "SSL_load_client_CA_file");
	return next == NULL ? NULL : next(file);
}

/* ---- connections ---- */

/* Let a TCP connection send each write at once; nothing happens to other sockets. errno is as it was. */
static void
send_at_once(int descriptor, const struct sockaddr *peer)
{
	const int on = 1;
	int error = errno;

	if (peer != NULL && (peer->sa_family == AF_INET || peer->sa_family == AF_INET6))
		(void)setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on); /* fails for UDP */
	errno = error;
}

EXPORT int
connect(int descriptor, const struct sockaddr *peer, socklen_t length)
{
	static connect_call *next;
	int result;

	if (next == NULL)
		*(void **)&next = dlsym(RTLD_NEXT, "connect");
	if (next == NULL) {
		errno = ENOSYS;
		return -1;
	}
	if (uplink_connect(descriptor, peer, length, next, &result)) {
		if (result == 0)
			attempt_begin(descriptor, peer);
		return result;
	}
	send_at_once(descriptor, peer);
	attempt_begin(descriptor, peer);
	return next(descriptor, peer, length);
}

int accepted = -1; /* the last client's descriptor; auth.c asks who it is */

EXPORT int
accept(int descriptor, struct sockaddr *peer, socklen_t *length)
{
	static int (*next)(int, struct sockaddr *, socklen_t *);

	if (next == NULL)
		*(void **)&next = dlsym(RTLD_NEXT, "accept");
	if (next == NULL) {
		errno = ENOSYS;
		return -1;
	}
	if (door_accept(descriptor, peer, length, &accepted))
		return accepted;
	accepted = next(descriptor, peer, length);
	if (accepted >= 0)
		send_at_once(accepted, peer);
	return accepted;
}

/* ---- answers ---- */

/*
 * sendmail's answer to AUTH where it offers none is a constant (srvrsmtp.c). In clear text it passes through here, alone
 * unless the client pipelines, which AUTH forbids (RFC 4954, section 4): then, and in a sendmail that words it otherwise,
 * it stays sendmail's.
 */
EXPORT ssize_t
write(int descriptor, const void *data, size_t size)
{
	static ssize_t (*next)(int, const void *, size_t);
	static const char said[] = "503 5.3.3 AUTH not available\r\n";
	size_t length = strlen(no_auth), done = 0;
	ssize_t written;

	if (next == NULL)
		*(void **)&next = dlsym(RTLD_NEXT, "write");
	if (next == NULL) {
		errno = ENOSYS;
		return -1;
	}
	if (attempt_write(descriptor, data, size, &written))
		return written;
	if (length == 0 || size != sizeof said - 1 || memcmp(data, said, size) != 0)
		return next(descriptor, data, size);
	while (done < length) {
		written = next(descriptor, no_auth + done, length - done);
		if (written < 0 && errno == EINTR)
			continue;
		if (written < 0)
			return -1;
		done += (size_t)written;
	}
	return (ssize_t)size;
}

/* ---- children ---- */

/*
 * To deliver a message in the background, the process that serves its client (and is the daemon's child) forks, and that
 * process forks once more and ends, so that nobody has to wait for the second (sendall(), deliver.c). One is enough: who
 * serves clients reaps whatever ends, in a handler of SIGCHLD (reapchild()), and of whom it leaves behind, PID 1 takes care.
 * So the first child takes itself for the second, and the wait for it ends at once. No process that serves a client forks for
 * anything else here: there is no ETRN (PrivacyOptions) and no mailer that is a program.
 */

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
	child = next();
	if (child == 0) {
		not_waited = 0;
		is_second = role == SERVER;
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

/* ---- the end of a process ---- */

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

	if (getpid() == started || handler_count > MOST_HANDLERS) {
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

/* ---- the queue on the disk ---- */

/* A file of the queue: its kind (q: control, d: body), and what sendmail writes there, an id of 14 characters and more. */
static bool
is_queue_file(const char *path, char kind)
{
	const char *name = strrchr(path, '/');

	name = name == NULL ? path : name + 1;
	return name[0] == kind && name[1] == 'f' && strlen(name) >= 16;
}

/* fsync() the folder that a file is in. One whose file system has no such thing counts as done, as it does for sendmail. */
static int
sync_folder(const char *path, int (*sync)(int))
{
	char folder[4096] = ".";
	const char *end = strrchr(path, '/');
	int descriptor, result;

	if (end != NULL && (size_t)(end - path) < sizeof folder) {
		memcpy(folder, path, (size_t)(end - path));
		folder[end - path] = '\0';
	}
	if ((descriptor = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
		return -1;
	if ((result = sync(descriptor)) != 0 && errno == EINVAL)
		result = 0;
	close(descriptor);
	return result;
}

static bool control_is_gone; /* the folder was saved without the last message's control file */

/* Whether this is the folder that sendmail saves between a body's end and its control file's, which has come before. */
static bool
is_saved(int descriptor)
{
	struct stat found;
	bool saved = control_is_gone && fstat(descriptor, &found) == 0 && S_ISDIR(found.st_mode);

	if (saved)
		control_is_gone = false;
	return saved;
}

/*
 * sendmail writes a message's body, then its control file, saves both with fsync(), and answers 250. It never saves the
 * folder, without which a file may be there and have no name (fsync(2)): common file systems do that by themselves, and
 * not all do. The body's name is older, so the folder need be saved only once.
 */
EXPORT int
fsync(int descriptor)
{
	static int (*next)(int);
	char link[64], path[4096];
	ssize_t length;

	if (is_saved(descriptor))
		return 0;
	if (next == NULL)
		*(void **)&next = dlsym(RTLD_NEXT, "fsync");
	if (next(descriptor) != 0)
		return -1;
	snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
	length = readlink(link, path, sizeof path - 1);
	if (length <= 0)
		return 0;
	path[length] = '\0';
	if (!is_queue_file(path, 'q'))
		return 0;
	attempts_begin_anew();
	if (sync_folder(path, next) != 0)
		return -1;
	if (role == SERVER) /* what serves a client; a delivery that is forked has nobody to tell */
		door_tell_saved(strrchr(path, '/') + 1);
	return 0;
}

/*
 * sendmail deletes a message's body first, saves the folder, and then deletes the control file. Killed in between, it
 * would deliver the message again, without a body. So the control file goes first; a body that is left over is nobody's.
 */
EXPORT int
unlink(const char *path)
{
	static int (*next)(const char *), (*sync)(int);
	char control[4096];
	int error = errno;
	const char *name;

	if (next == NULL)
		*(void **)&next = dlsym(RTLD_NEXT, "unlink");
	if (sync == NULL)
		*(void **)&sync = dlsym(RTLD_NEXT, "fsync");
	if (is_queue_file(path, 'q') || is_queue_file(path, 'd'))
		attempts_begin_anew();
	if (is_queue_file(path, 'd') && strlen(path) < sizeof control) {
		name = strrchr(path, '/');
		strcpy(control, path);
		control[name == NULL ? 0 : name + 1 - path] = 'q';
		if (next(control) == 0)
			control_is_gone = sync_folder(control, sync) == 0;
		else if (errno != ENOENT)
			return -1;
		errno = error;
	}
	return next(path);
}

/* ---- the log socket ---- */

/*
 * One socket a process, inherited over fork() and never closed here. sendmail closes descriptors that it doesn't know,
 * and the number may then belong to something else (an SMTP connection, say): a descriptor is only used while it is
 * still the inode that was opened. The two are one value, so that threads see them change together.
 */
static _Atomic uint64_t log_socket; /* inode << 32 | descriptor; 0: none */

/* A process that has waited in vain doesn't wait again before a line gets through; children inherit that. */
static atomic_bool reader_is_stuck;
static atomic_uint lines_lost;
static atomic_int lines_lost_by; /* the process that counted: a child doesn't report its parent's losses again */

static uint64_t
identity(int descriptor)
{
	struct stat made;

	if (fstat(descriptor, &made) != 0 || !S_ISSOCK(made.st_mode))
		return 0;
	return (uint64_t)made.st_ino << 32 | (uint32_t)descriptor;
}

/* The process's descriptor of the log socket, opened if need be; -1 if that can't be done. */
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
		descriptor = low; /* the limit on open files is a low one */
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
 * Beside the socket there is a FIFO, where there is room for a thousand lines and more: its reader need not wake up for each.
 * A line of up to PIPE_BUF octets gets in whole or not at all (pipe(7)); it ends with a NUL. Longer ones take the socket.
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
		return -1; /* there is none, or nobody reads it */
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

/* Send one line; false if that can't be done, or not within about WAIT_SECONDS. */
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

/* The same by the socket. */
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
		/* the reader has gone, and may have come back under the same path */
		if (connected_again || connect(descriptor, (struct sockaddr *)&log_address, sizeof log_address) != 0)
			return false;
		connected_again = true;
	}
}

/* ---- syslog ---- */

static char ident[64] = "unknown";
static atomic_int default_facility = LOG_USER;

/* Send one line, after the count of those that were lost before it. */
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

/* Write the whole line into room; the length that it has, or would have where size is too little. */
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
		/* mmap() and not malloc(): see the top */
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

/* What programs call that were compiled with _FORTIFY_SOURCE; Debian's are. */
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

/* setlogmask() is left to libc, whose mask has no effect here: neither program calls it. */

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
