/* SPDX-License-Identifier: MIT
 *
 * sessions: sessions of mixed lifetimes in several threads, under a load that rises by day and
 * falls by night: how much of the memory that the day took comes back, and how much is held up by
 * the few sessions that stay.
 *
 *	sessions THREADS SESSIONS	so many sessions begin in each thread and day
 *
 * Output: `NAME VALUE` lines: checksum; for each day and night the resident memory at its end and
 * the bytes that are live then, as day1_rss_kib, day1_live_kib, night1_rss_kib and so on.
 *
 * Time goes in steps. In each step of a day each thread
 *
 *  1. begins some sessions: of 1,000 of them 985 last for 5 to 60 steps, 13 for one or two days,
 *     and 2 until the program ends;
 *  2. lets some of those it has grow: messages of 16 to 300 bytes, longer from day to day, and
 *     the array of them, which doubles when it is full; now and then a document of 1 to 40 KiB in
 *     place of the last one, or an upload of 100 KiB to 1 MiB;
 *  3. ends those whose time has come, adds what they hold to the checksum, and frees it.
 *
 * A night is a fifth as long and begins one session in twenty of a day's; a pause follows each of its
 * steps, as nothing is to be done. Between day and night each thread hands every fourth of its
 * sessions to the next thread, which will free what it did not allocate.
 *
 * Everything depends on the thread's number and the step only, so the checksum and the live bytes
 * are the same in every run.
 */
#include "common.h"

#include <pthread.h>
#include <stdbool.h>

#define DAYS 4
#define DAY_STEPS 200
#define NIGHT_STEPS 40
#define STEPS (DAYS * (DAY_STEPS + NIGHT_STEPS))
#define NIGHT_PAUSE_MS 3
#define GROW 8	/* sessions that grow in a step, for each one that begins in it */
#define KEPT 40 /* messages of a session; after that a new one takes the place of another */
#define PHASES (2 * DAYS)
#define MOST_THREADS 64
#define LETTERS 8192

struct message {
	size_t length;
	char text[];
};

struct document {
	size_t size;
	char data[];
};

struct session {
	struct session *next;	   /* in the list it is in */
	int end;		   /* the step that ends it; STEPS: none does */
	size_t place;		   /* in its thread's array */
	struct message **messages; /* an array, NULL: none yet */
	size_t count, room;	   /* of these */
	struct document *document; /* NULL: none yet */
	char *user;
};

struct worker {
	_Alignas(64) pthread_t thread;
	long number;
	long live; /* its account, see common.h */
	uint64_t random;
	uint64_t sum;
	struct session *ending[STEPS + 1]; /* lists of all of them, by their end */
	struct session **all;		   /* the same, to choose from */
	size_t count, room;		   /* of these */
	/* For the next thread, which may take it while this one fills the other in the next phase. */
	struct session *passed_on[2];
};

static struct worker workers[MOST_THREADS];
static long threads, sessions_a_day;
static pthread_barrier_t together; /* of all workers and the main thread */
static char letters[LETTERS];

/* An array of pointers with room for one more. */
static void *roomy(struct worker *worker, void *array, size_t count, size_t *room)
{
	size_t old = *room * sizeof(void *);

	if (count < *room)
		return array;
	*room = *room ? 2 * *room : 4;
	return retake(&worker->live, array, old, *room * sizeof(void *));
}

static void add_session(struct worker *worker, struct session *session)
{
	worker->all = roomy(worker, worker->all, worker->count, &worker->room);
	session->place = worker->count++;
	worker->all[session->place] = session;
	session->next = worker->ending[session->end];
	worker->ending[session->end] = session;
}

/* From the array: the list is its caller's. */
static void remove_session(struct worker *worker, struct session *session)
{
	struct session *last = worker->all[--worker->count];

	worker->all[session->place] = last;
	last->place = session->place;
}

static void begin_session(struct worker *worker, int step)
{
	struct session *session = take(&worker->live, sizeof(*session));
	size_t kind = random_between(&worker->random, 1, 1000), steps;

	if (kind <= 985)
		steps = random_between(&worker->random, 5, 60);
	else if (kind <= 998)
		steps = random_between(&worker->random, DAY_STEPS, 2 * DAY_STEPS);
	else
		steps = STEPS;
	*session = (struct session){ .end = steps < (size_t)(STEPS - step) ? step + (int)steps :
									     STEPS };
	session->user = take_text(&worker->live, letters, random_between(&worker->random, 6, 60));
	add_session(worker, session);
}

static void give_message(struct worker *worker, struct message *message)
{
	worker->sum += hash_bytes(message->text, message->length);
	give(&worker->live, message, sizeof(*message) + message->length);
}

static void add_message(struct worker *worker, struct session *session, int day)
{
	size_t length = random_between(&worker->random, 16 + 40 * (size_t)day, 300);
	struct message *message = take(&worker->live, sizeof(*message) + length);
	size_t at = session->count;

	message->length = length;
	memcpy(message->text, letters + random_between(&worker->random, 0, LETTERS / 2), length);
	if (session->count < KEPT) {
		session->messages = roomy(worker, session->messages, at, &session->room);
		session->count++;
	} else {
		at = random_between(&worker->random, 0, KEPT - 1);
		give_message(worker, session->messages[at]);
	}
	session->messages[at] = message;
}

static void free_document(struct worker *worker, struct session *session)
{
	struct document *document = session->document;

	if (!document)
		return;
	worker->sum += hash_bytes(document->data, 256);
	give(&worker->live, document, sizeof(*document) + document->size);
	session->document = NULL;
}

static void replace_document(struct worker *worker, struct session *session)
{
	bool upload = random_next(&worker->random) % 64 == 0;
	size_t size = upload ? random_between(&worker->random, 100 << 10, 1 << 20) :
			       random_between(&worker->random, 1 << 10, 40 << 10);
	struct document *document;

	free_document(worker, session);
	document = take(&worker->live, sizeof(*document) + size);
	document->size = size;
	memset(document->data, (int)(size & 0xff), size);
	session->document = document;
}

static void grow_session(struct worker *worker, int day)
{
	struct session *session = worker->all[random_next(&worker->random) % worker->count];

	if (random_next(&worker->random) % 32)
		add_message(worker, session, day);
	else
		replace_document(worker, session);
}

static void end_session(struct worker *worker, struct session *session)
{
	for (size_t i = 0; i < session->count; i++)
		give_message(worker, session->messages[i]);
	free_document(worker, session);
	give(&worker->live, session->messages, session->room * sizeof(void *));
	give_text(&worker->live, session->user);
	remove_session(worker, session);
	give(&worker->live, session, sizeof(*session));
}

static void end_sessions(struct worker *worker, int step)
{
	struct session *session, *next;

	for (session = worker->ending[step]; session; session = next) {
		next = session->next;
		end_session(worker, session);
	}
	worker->ending[step] = NULL;
}

/* Take every fourth session out, for the next thread. */
static void pass_on(struct worker *worker, int phase)
{
	struct session *list = NULL;
	size_t n = 0;

	for (int step = 0; step <= STEPS; step++) {
		struct session **at = &worker->ending[step], *session;

		while ((session = *at)) {
			if (++n % 4) {
				at = &session->next;
				continue;
			}
			*at = session->next;
			remove_session(worker, session);
			session->next = list;
			list = session;
		}
	}
	worker->passed_on[phase % 2] = list;
}

static void take_over(struct worker *worker, struct session *session)
{
	struct session *next;

	for (; session; session = next) {
		next = session->next;
		add_session(worker, session);
	}
}

static void run_steps(struct worker *worker, int first, int steps, long begins, int day)
{
	for (int i = 0; i < steps; i++) {
		/* What does not divide evenly begins a step later. */
		long count = begins * (i + 1) / steps - begins * i / steps;

		for (long n = 0; n < count; n++)
			begin_session(worker, first + i);
		for (long n = 0; n < count * GROW && worker->count; n++)
			grow_session(worker, day);
		end_sessions(worker, first + i);
		if (steps == NIGHT_STEPS)
			sleep_ms(NIGHT_PAUSE_MS);
	}
}

static void *work(void *arg)
{
	struct worker *worker = arg;
	const struct worker *before = &workers[(worker->number + threads - 1) % threads];
	int step = 0;

	for (int phase = 0; phase < PHASES; phase++) {
		bool night = phase % 2;
		int steps = night ? NIGHT_STEPS : DAY_STEPS;

		run_steps(worker, step, steps, night ? sessions_a_day / 20 : sessions_a_day,
			  phase / 2);
		step += steps;
		pass_on(worker, phase);
		pthread_barrier_wait(&together);
		/* The main thread measures here. */
		pthread_barrier_wait(&together);
		take_over(worker, before->passed_on[phase % 2]);
	}
	end_sessions(worker, STEPS);
	give(&worker->live, worker->all, worker->room * sizeof(struct session *));
	return NULL;
}

static void measure(int phase)
{
	static const char *const names[] = { "day", "night" };
	long live = 0;

	for (long i = 0; i < threads; i++)
		live += workers[i].live;
	printf("%s%d_rss_kib %ld\n", names[phase % 2], phase / 2 + 1, rss_kib());
	printf("%s%d_live_kib %ld\n", names[phase % 2], phase / 2 + 1, live / 1024);
}

int main(int argc, char **argv)
{
	uint64_t sum = 0, random = 1;
	long live = 0;

	if (argc != 3)
		die(2, "usage: sessions THREADS SESSIONS");
	threads = number(argv[1], "THREADS", 1, MOST_THREADS);
	sessions_a_day = number(argv[2], "SESSIONS", 1, 10000000);
	for (size_t i = 0; i < LETTERS; i++)
		letters[i] = (char)('a' + random_next(&random) % 26);
	pthread_barrier_init(&together, NULL, (unsigned int)threads + 1);
	for (long i = 0; i < threads; i++) {
		int error;

		workers[i].number = i;
		workers[i].random = (uint64_t)i << 32;
		error = pthread_create(&workers[i].thread, NULL, work, &workers[i]);
		if (error)
			die(1, "cannot start thread %ld: %s", i + 1, strerror(error));
	}
	for (int phase = 0; phase < PHASES; phase++) {
		pthread_barrier_wait(&together);
		measure(phase);
		pthread_barrier_wait(&together);
	}
	for (long i = 0; i < threads; i++) {
		pthread_join(workers[i].thread, NULL);
		sum += workers[i].sum;
		live += workers[i].live;
	}
	if (live)
		die(1, "%ld bytes are live at the end", live);
	printf("checksum %016llx\n", (unsigned long long)sum);
	return 0;
}
