/* SPDX-License-Identifier: MIT */
/*
 * damage.h - show that a validator notices one kind of damage.
 *
 *	NOTICES(damage, call, report...)
 *
 * In a child process: damage; then the call, which must report exactly this line (after
 * "libkmalloc: BUG ") and either say false or, in a debug build, die.
 */
#ifndef TESTS_DAMAGE_H
#define TESTS_DAMAGE_H

#include "unit.h"

#include <signal.h>
#include <sys/wait.h>

#define NOTICES(damage, call, ...)                                                                 \
	do {                                                                                       \
		struct unit_damage unit_hurt = damage_begin();                                     \
		if (!unit_hurt.pid) {                                                              \
			damage;                                                                    \
			_exit((call) ? 3 : 4);                                                     \
		}                                                                                  \
		damage_end(unit_hurt, __FILE__, __LINE__, __VA_ARGS__);                            \
	} while (0)

struct unit_damage {
	pid_t pid; /* 0 in the child */
	int fd;
};

static inline struct unit_damage damage_begin(void)
{
	struct unit_damage damage;
	int fds[2];

	CHECK(pipe(fds) == 0);
	fflush(NULL);
	damage.pid = fork();
	CHECK(damage.pid >= 0);
	if (damage.pid == 0) {
		dup2(fds[1], 2);
		close(fds[0]);
	}
	close(fds[1]);
	damage.fd = fds[0];
	return damage;
}

__attribute__((format(printf, 4, 5))) static inline void damage_end(struct unit_damage damage,
								    const char *file, int line,
								    const char *format, ...)
{
	char wanted[512], text[1024];
	size_t len = 0;
	ssize_t n;
	int status;
	va_list args;

	len = (size_t)snprintf(wanted, sizeof(wanted), "libkmalloc: BUG ");
	va_start(args, format);
	len += (size_t)vsnprintf(wanted + len, sizeof(wanted) - len - 1, format, args);
	va_end(args);
	snprintf(wanted + len, sizeof(wanted) - len, "\n");
	len = 0;
	while ((n = read(damage.fd, text + len, sizeof(text) - 1 - len)) > 0)
		len += (size_t)n;
	text[len] = '\0';
	close(damage.fd);
	CHECK(waitpid(damage.pid, &status, 0) == damage.pid);
#ifdef DEBUG_CHECKS
	bool noticed = WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
#else
	bool noticed = WIFEXITED(status) && WEXITSTATUS(status) == 4;
#endif
	if (noticed && !strcmp(text, wanted))
		return;
	fprintf(stderr, "wanted: %sgot (status %x): %s\n", wanted, (unsigned)status, text);
	unit_failed(file, line, "the damage is noticed, in these words");
}

#endif
