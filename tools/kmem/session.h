/* SPDX-License-Identifier: MIT */
/* session.h - take the events of one process, or of the programs that it is one after the other, into a recording. */
#ifndef KMEM_SESSION_H
#define KMEM_SESSION_H

#include "bell.h"
#include "depot.h"
#include "record.h"
#include "recording.h"
#include "rings.h"
#include "target.h"

#include <signal.h>
#include <time.h>

struct session {
	const struct record_options *options;
	const volatile sig_atomic_t *interrupted; /* by the user: it is enough */
	volatile sig_atomic_t *child_changed; /* the program that was started here may have ended */
	struct target target;
	struct bell bell;
	bool rung;    /* the last sleep ended by it */
	bool is_deaf; /* and for nothing: the next one does not */
	struct rings *rings;
	struct depot *depot; /* NULL: without stacks */
	struct writer *writer;
	uint64_t start, maps_at;
	uint64_t end;	    /* when the last process was done with; 0: none was */
	uint64_t start_ns;  /* by the clock, at `start` */
	double ns_per_tick; /* as it was measured last */
	bool timed;	    /* and is in the file for good */
	time_t start_time;
	uint64_t lost, lost_earlier; /* in all; of these, in programs that the process was before */
	uint32_t generation;	     /* of the wishes that are ours */
	bool attached;		     /* it ran the library */
	bool tail_missing;
	uint64_t stacks_lost, stacks_missing;
	bool no_depot; /* it had no memory for stacks */
	char *info;    /* what CHUNK_INFO says of the process; NULL: nothing yet */
	char *maps, *caches;
	uint64_t
		maps_seen; /* when they were the same still, after they were written; 0: not again */
	uint64_t look_at;  /* a module may have come by then; 0: none is expected */
	uint32_t looked, unlooked, loading; /* of the control block, as they are known */
	uint64_t known_caches[NR_CACHES /
			      64]; /* a bit for each id that was written, or asked for in vain */
	unsigned cache_reads;	   /* since the last look around */
};

/* TAKEN: somebody else's wishes hold now, or it is damaged. */
enum outcome { GONE, STOPPED, TAKEN };

uint64_t session_now_ms(void);
/* [a writer] The time begins. */
void session_start(struct session *session);
/* Sleep, unless the program that was started here has something to say. */
void session_wait(struct session *session, unsigned us);
/* The library is there, and its wishes are ours or about to be. */
void session_begin(struct session *session);
/* Empty the rings until the process ends or replaces itself, or it is enough. */
enum outcome session_collect(struct session *session);
/* The process is to trace no more; what is left is taken. */
void session_switch_off(struct session *session);
/* The process is done with, or is what it was no longer. */
void session_end(struct session *session, enum outcome outcome);
/* The recording is complete. Says what has to be known of it. */
void session_finish(struct session *session);

#endif
