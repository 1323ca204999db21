// SPDX-License-Identifier: MIT
//
// threads: a small server in one process. Producers make requests and queue
// them, workers take them from the queue, read them and update shared maps, so that
// most memory is freed by another thread than the one that allocated it.
// The work is the same in every run; its sum is printed.

#include <condition_variable>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <sstream>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

namespace
{

constexpr int kProducers = 2;
constexpr int kWorkers = 2;
constexpr size_t kQueueLimit = 64;
constexpr size_t kBatch = 128;
constexpr size_t kShards = 16;
constexpr uint32_t kKeys = 20000;

struct Request {
	std::string key;
	std::vector<std::string> fields;
	bool remove;
};

class Queue
{
      public:
	void put(std::vector<std::unique_ptr<Request>> batch)
	{
		std::unique_lock<std::mutex> lock(mutex_);
		room_.wait(lock, [this] {
			return batches_.size() < kQueueLimit;
		});
		batches_.push_back(std::move(batch));
		some_.notify_one();
	}

	// An empty batch: closed, and nothing is left.
	std::vector<std::unique_ptr<Request>> get()
	{
		std::unique_lock<std::mutex> lock(mutex_);
		some_.wait(lock, [this] {
			return closed_ || !batches_.empty();
		});
		if (batches_.empty())
			return {};
		auto batch = std::move(batches_.front());
		batches_.pop_front();
		room_.notify_one();
		return batch;
	}

	void close()
	{
		std::lock_guard<std::mutex> lock(mutex_);
		closed_ = true;
		some_.notify_all();
	}

      private:
	std::mutex mutex_;
	std::condition_variable some_, room_;
	std::deque<std::vector<std::unique_ptr<Request>>> batches_;
	bool closed_ = false;
};

struct Shard {
	std::mutex mutex;
	std::unordered_map<std::string, std::vector<std::string>> values;
	std::map<std::string, uint64_t> counts;
};

Shard shards[kShards];

uint32_t next_random(uint32_t &state)
{
	state ^= state << 13;
	state ^= state >> 17;
	state ^= state << 5;
	return state;
}

void produce(Queue &queue, uint32_t seed, int requests)
{
	uint32_t state = seed * 2654435761u + 1;
	std::vector<std::unique_ptr<Request>> batch;

	for (int i = 0; i < requests; i++) {
		auto request = std::make_unique<Request>();
		request->key = "customer/" + std::to_string(next_random(state) % kKeys) +
			       "/profile";
		request->remove = next_random(state) % 4 == 0;
		int fields = 1 + next_random(state) % 6;
		for (int f = 0; f < fields; f++) {
			std::ostringstream text;
			text << "field" << f << '=' << std::string(next_random(state) % 120, 'x');
			request->fields.push_back(text.str());
		}
		batch.push_back(std::move(request));
		if (batch.size() == kBatch) {
			queue.put(std::move(batch));
			batch.clear();
		}
	}
	if (!batch.empty())
		queue.put(std::move(batch));
}

void work(Queue &queue, uint64_t &sum)
{
	for (;;) {
		auto batch = queue.get();
		if (batch.empty())
			return;
		for (auto &request : batch) {
			Shard &shard = shards[std::hash<std::string>()(request->key) % kShards];
			std::vector<std::string> copy(request->fields);
			for (auto &field : copy) {
				field = field.substr(0, field.find('=')) + ":" + request->key;
				sum += field.size();
			}
			std::lock_guard<std::mutex> lock(shard.mutex);
			shard.counts[request->key]++;
			if (request->remove)
				shard.values.erase(request->key);
			else
				shard.values[std::move(request->key)] = std::move(request->fields);
		}
	}
}

} // namespace

int main(int argc, char **argv)
{
	int requests = argc == 2 ? std::atoi(argv[1]) : 0;
	if (requests < 1) {
		std::fprintf(stderr, "usage: threads REQUESTS\n");
		return 2;
	}

	Queue queue;
	uint64_t sums[kWorkers] = {};
	std::vector<std::thread> producers, workers;
	for (int i = 0; i < kWorkers; i++)
		workers.emplace_back([&queue, &sums, i] {
			uint64_t sum = 0;
			work(queue, sum);
			sums[i] = sum;
		});
	for (int i = 0; i < kProducers; i++)
		producers.emplace_back(produce, std::ref(queue), i + 1, requests / kProducers);
	for (auto &producer : producers)
		producer.join();
	queue.close();
	for (auto &worker : workers)
		worker.join();

	uint64_t total = 0, keys = 0;
	for (uint64_t sum : sums)
		total += sum;
	for (auto &shard : shards)
		keys += shard.counts.size();
	std::printf("%llu bytes, %llu keys\n", (unsigned long long)total, (unsigned long long)keys);
	return 0;
}
