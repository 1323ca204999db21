/* SPDX-License-Identifier: MIT
 *
 * cache: the sessions that all threads of the server share, in shards with a lock each.
 *
 * What a session holds depends on its key only. So a thread that finds it and one that has to
 * make it anew come to the same result, in whatever order they run. A shard that is full lets go
 * of its oldest session; most often another thread had made it.
 */
#include "server.h"

#define SHARDS 64
#define BUCKETS 64
#define FULL 96 /* sessions in one shard */

struct attribute {
	struct attribute *next;
	char *name;
	char *value;
};

struct session {
	struct session *next;  /* in its bucket */
	struct session *newer; /* in its shard; NULL: the newest */
	uint32_t key;
	char *user;
	struct attribute *attributes;
};

struct shard {
	_Alignas(64) pthread_mutex_t lock; /* guards all else */
	struct session *buckets[BUCKETS];
	struct session *oldest; /* NULL: none at all */
	struct session *newest;
	int count;
};

static struct shard shards[SHARDS];

static struct session *session_new(struct worker *worker, uint32_t key)
{
	uint64_t random = key;
	size_t count = random_between(&random, 2, 10);
	struct session *session = take(&worker->live, sizeof(*session));

	*session = (struct session){ .key = key };
	session->user =
		take_text(&worker->live, random_text(&random), random_between(&random, 6, 40));
	for (size_t i = 0; i < count; i++) {
		struct attribute *attribute = take(&worker->live, sizeof(*attribute));
		const char *name = random_text(&random), *value = random_text(&random);
		size_t most = i ? 120 : 900;

		attribute->name = take_text(&worker->live, name, random_between(&random, 4, 20));
		attribute->value =
			take_text(&worker->live, value, random_between(&random, 8, most));
		attribute->next = session->attributes;
		session->attributes = attribute;
	}
	return session;
}

static void session_free(struct worker *worker, struct session *session)
{
	struct attribute *attribute, *next;

	for (attribute = session->attributes; attribute; attribute = next) {
		next = attribute->next;
		give_text(&worker->live, attribute->name);
		give_text(&worker->live, attribute->value);
		give(&worker->live, attribute, sizeof(*attribute));
	}
	give_text(&worker->live, session->user);
	give(&worker->live, session, sizeof(*session));
}

static struct session **bucket_of(struct shard *shard, uint32_t key)
{
	return &shard->buckets[key / SHARDS % BUCKETS];
}

static struct session *find_locked(struct shard *shard, uint32_t key)
{
	struct session *session = *bucket_of(shard, key);

	while (session && session->key != key)
		session = session->next;
	return session;
}

/* Put SESSION into SHARD; what had to leave for it is returned, or NULL. */
static struct session *insert_locked(struct shard *shard, struct session *session)
{
	struct session **at = bucket_of(shard, session->key), *old = NULL;

	session->next = *at;
	*at = session;
	if (shard->newest)
		shard->newest->newer = session;
	else
		shard->oldest = session;
	shard->newest = session;
	if (shard->count < FULL) {
		shard->count++;
		return NULL;
	}
	old = shard->oldest;
	shard->oldest = old->newer;
	for (at = bucket_of(shard, old->key); *at != old; at = &(*at)->next)
		;
	*at = old->next;
	return old;
}

/* A copy of the user's name; *SUM gets the rest of the session. */
static char *read_locked(struct worker *worker, const struct session *session, uint64_t *sum)
{
	for (const struct attribute *a = session->attributes; a; a = a->next)
		*sum += hash_bytes(a->name, strlen(a->name)) + strlen(a->value);
	return take_text(&worker->live, session->user, strlen(session->user));
}

char *cache_user(struct worker *worker, uint32_t key, uint64_t *sum)
{
	struct shard *shard = &shards[key % SHARDS];
	struct session *session, *made, *left = NULL;
	char *user = NULL;

	pthread_mutex_lock(&shard->lock);
	session = find_locked(shard, key);
	if (session)
		user = read_locked(worker, session, sum);
	pthread_mutex_unlock(&shard->lock);
	if (user)
		return user;

	made = session_new(worker, key);
	user = read_locked(worker, made, sum); /* nobody else knows it yet */
	pthread_mutex_lock(&shard->lock);
	/* Another thread may have been faster. */
	left = find_locked(shard, key) ? made : insert_locked(shard, made);
	pthread_mutex_unlock(&shard->lock);
	if (left)
		session_free(worker, left);
	return user;
}

void cache_init(void)
{
	for (int i = 0; i < SHARDS; i++)
		pthread_mutex_init(&shards[i].lock, NULL);
}
