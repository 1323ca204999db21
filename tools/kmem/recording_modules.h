/* SPDX-License-Identifier: MIT */
/*
 * recording_modules.h - which module was at an address when: from all the maps of a recording.
 *
 * An address that meant one thing all the time is left as it is. Where several modules were at the same place, one after the other,
 * addresses in all but one of them get a number in the bits that no address of user space has: recording_address() takes it off.
 */
#ifndef KMEM_RECORDING_MODULES_H
#define KMEM_RECORDING_MODULES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct modules;

/* From a file that can be read at any place. Never NULL; what is damaged is as if it were not there. Silent. */
struct modules *modules_read(int fd);
void modules_free(struct modules *modules);
/* All of them, as /proc/PID/maps has them, at addresses as modules_address() tells them; NULL: there are no maps. */
const char *modules_text(const struct modules *modules);
/* Is there anything that modules_address() would change? */
bool modules_differ(const struct modules *modules);
/*
 * The time from one look at the modules to the next has a number: nobody came and went in it and was not seen. image: how many
 * programs the process was before. [*from, *to): when else it is the same.
 */
uint32_t modules_epoch(const struct modules *modules, unsigned image, uint64_t when, uint64_t *from,
		       uint64_t *to);
/* May it be changed, at any time? */
bool modules_is_contested(const struct modules *modules, uint64_t address);
/* What a return address of that time is called. */
uint64_t modules_address(const struct modules *modules, uint32_t epoch, uint64_t address);
/* Of such a one: is it of a module that was not seen? */
bool modules_is_nobodys(uint64_t address);

#endif
