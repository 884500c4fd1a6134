/*
 * The queue on disk:
 *
 *   fsync()        also saves the names of new files in the queue;
 *   unlink()       deletes a message's files in an order that never leaves a message without its body, even if the power
 *                  fails.
 *
 * Read in sendmail 8.18.1: queueup() in queue.c, dropenvelope() in envelope.c.
 */

#define _GNU_SOURCE

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "preload.h"

/* Whether this is a queue file of a kind (q: control, d: body): "qf" or "df", and an id of at least 14 characters. */
static bool
is_queue_file(const char *path, char kind)
{
	const char *name = strrchr(path, '/');

	name = name == NULL ? path : name + 1;
	return name[0] == kind && name[1] == 'f' && strlen(name) >= 16;
}

/* fsync() a file's folder. A file system that can't do that (EINVAL) counts as success, as it does in sendmail. */
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

static bool control_is_gone; /* the folder was saved after the last message's control file was deleted */

/* Whether this is the folder that sendmail saves between deleting a body and its control file, which unlink() has deleted already. */
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
 * folder, without which a file may exist but have no name (fsync(2)). Common file systems save it by themselves, but not all
 * do. The body's name is older than the control file's, so saving the folder once is enough.
 */
EXPORT int
fsync(int descriptor)
{
	static int (*next)(int);
	char link[64], path[4096];
	ssize_t length;

	if (is_saved(descriptor))
		return 0;
	FIND_NEXT(fsync);
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
	if (serves_client()) { /* a forked delivery has nobody to tell */
		delivery_awaits(strrchr(path, '/') + 1);
		door_tell_saved(strrchr(path, '/') + 1);
	}
	return 0;
}

/*
 * sendmail deletes a message's body first, saves the folder, and then deletes the control file. If killed in between, it
 * would deliver the message again, without a body. So the control file is deleted first; a leftover body belongs to no message.
 */
EXPORT int
unlink(const char *path)
{
	static int (*next)(const char *), (*sync)(int);
	char control[4096];
	int error = errno;
	const char *name;

	FIND_NEXT(unlink);
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
