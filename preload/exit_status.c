/*
 * Finds sendmail's exit status in its memory, for verdicts.c; only the image's build uses this.
 *
 *   gethostname()  returns a name with a domain: sendmail would look for that of the build's container, and wait a minute for it.
 *   exit()         prints the offsets in the program, in hexadecimal, of all variables that hold the status that it exits with.
 *
 * Run with several statuses, the offset that is printed each time is that of ExitStat.
 *
 * gcc -O2 -fPIC -shared -fvisibility=hidden -Wall -Wextra -Werror -o exit_status.so exit_status.c
 */

#define _GNU_SOURCE

#include <link.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static int
print_places(struct dl_phdr_info *program, size_t size, void *data)
{
	const int *status = data;

	(void)size;
	for (int i = 0; i < program->dlpi_phnum; i++) {
		const ElfW(Phdr) *part = &program->dlpi_phdr[i];

		if (part->p_type != PT_LOAD || (part->p_flags & PF_W) == 0)
			continue;
		for (uintptr_t at = (part->p_vaddr + 3) & ~(uintptr_t)3; at + sizeof *status <= part->p_vaddr + part->p_memsz; at += 4)
			if (*(int *)(program->dlpi_addr + at) == *status)
				printf("%lx\n", (unsigned long)at);
	}
	return 1; /* the program is the first of all objects */
}

__attribute__((visibility("default"))) int
gethostname(char *name, size_t size)
{
	snprintf(name, size, "build.invalid");
	return 0;
}

__attribute__((visibility("default"))) _Noreturn void
exit(int status)
{
	dl_iterate_phdr(print_places, &status);
	fflush(stdout);
	_exit(0);
}
