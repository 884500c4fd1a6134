/*
 * A clock that can be set: loaded into every process of a container by /etc/ld.so.preload, it adds to the time of day as many
 * seconds as the eight octets of the file /clock/offset say. What counts from the start (CLOCK_MONOTONIC) goes on, as it does
 * on a host whose clock is set.
 *
 * gcc -O2 -fPIC -shared -o clock.so clock.c
 */

#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static const volatile int64_t *offset;

__attribute__((constructor)) static void
begin(void)
{
	int descriptor = open("/clock/offset", O_RDONLY | O_CLOEXEC);
	void *mapped;

	if (descriptor < 0)
		return;
	mapped = mmap(NULL, sizeof *offset, PROT_READ, MAP_SHARED, descriptor, 0);
	close(descriptor);
	if (mapped != MAP_FAILED)
		offset = mapped;
}

int
clock_gettime(clockid_t id, struct timespec *now)
{
	int result = (int)syscall(SYS_clock_gettime, id, now);

	if (result == 0 && offset != NULL && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE))
		now->tv_sec += *offset;
	return result;
}

int
gettimeofday(struct timeval *now, void *zone)
{
	int result = (int)syscall(SYS_gettimeofday, now, zone);

	if (result == 0 && offset != NULL)
		now->tv_sec += *offset;
	return result;
}

time_t
time(time_t *where)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	if (where != NULL)
		*where = now.tv_sec;
	return now.tv_sec;
}
