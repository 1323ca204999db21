/* SPDX-License-Identifier: MIT */
/* limit_cases.h - the cases of limits.c that are no plain limits, in limits_more.c. */
#ifndef TESTS_TORTURE_LIMIT_CASES_H
#define TESTS_TORTURE_LIMIT_CASES_H

#include "fault.h"

#include <fcntl.h>

#define SKIPPED 77

/* Each returns NULL, or why the system does not let it be tried. A failure ends the program. */
const char *stack_run(void);
const char *cgroup_run(void);
const char *overcommit_run(void);

/* The case's share of the time is over. */
bool limits_time_is_up(void);

#endif
