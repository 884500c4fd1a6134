/*
 * getgrgid()  knows that this process is in its supplementary groups. sendmail judges by itself whether a folder may be written,
 * and asks /etc/group who is in the folder's group. Kubernetes gives a volume to a group (fsGroup) that /etc/group does not
 * have and that is not the process's first one, in OpenShift always: sendmail would take no mail there.
 */

#define _GNU_SOURCE

#include <dlfcn.h>
#include <grp.h>
#include <limits.h>
#include <stddef.h>
#include <sys/types.h>
#include <unistd.h>

#include "preload.h"

#define USER "smmta" /* the name of whoever runs this: getpwuid() in host.c */

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
	if (next == NULL)
		*(void **)&next = dlsym(RTLD_NEXT, "getgrgid");
	return next == NULL ? NULL : next(gid);
}
