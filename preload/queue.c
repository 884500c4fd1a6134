/*
 * The queue on the disk:
 *
 *   fsync(), unlink()  also save the names of new files in the queue, and delete a message in the order that leaves
 *                  none without its body, whenever the power fails.
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
	if (serves_client()) { /* a delivery that is forked has nobody to tell */
		delivery_awaits(strrchr(path, '/') + 1);
		door_tell_saved(strrchr(path, '/') + 1);
	}
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
