/*
 * getgrgid()  names this process's user as a member of its supplementary groups. sendmail itself decides whether it may write
 * to a folder, and looks in /etc/group for the members of the folder's group. Kubernetes gives a volume to a group (fsGroup)
 * that is not in /etc/group and is not the process's primary group (in OpenShift always): sendmail would accept no mail there.
 */

#define _GNU_SOURCE

#include <dlfcn.h>
#include <grp.h>
#include <limits.h>
#include <stddef.h>
#include <sys/types.h>
#include <unistd.h>

#include "preload.h"

#define USER "smmta" /* the name of this process's user: getpwuid() in host.c */

EXPORT struct group *
getgrgid(gid_t gid)
{
	static char *members[] = { USER, NULL };
	static struct group entry = { .gr_name = USER, .gr_passwd = "x", .gr_mem = members };
	static struct group *(*next)(gid_t);
	static gid_t groups[NGROUPS_MAX];
	int count = getgroups(NGROUPS_MAX, groups);

	for (int i = 0; i < count; i++)
		if (groups[i] == gid) {
			entry.gr_gid = gid;
			return &entry;
		}
	FIND_NEXT(getgrgid);
	return next == NULL ? NULL : next(gid);
}
