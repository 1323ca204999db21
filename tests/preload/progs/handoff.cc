// SPDX-License-Identifier: MIT
// What C++ programs do to an allocator: containers and shared pointers handed from thread to
// thread, exceptions that cross them, operator new that fails and its handler, aligned and
// sized delete, thread_local destructors.
#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <exception>
#include <functional>
#include <future>
#include <iostream>
#include <limits>
#include <map>
#include <memory>
#include <mutex>
#include <new>
#include <numeric>
#include <regex>
#include <set>
#include <sstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include <dlfcn.h>
#include <malloc.h>

namespace
{

void require(bool good, const char *what)
{
	if (!good) {
		std::fprintf(stderr, "FAIL handoff: %s\n", what);
		std::_Exit(1);
	}
}

// Where a library is expected, malloc and the operators must be its own.
void check_library()
{
	const char *want = std::getenv("KMALLOC_EXPECT");

	if (want == nullptr)
		return;
	for (const char *name :
	     { "malloc", "free", "_Znwm", "_ZnwmSt11align_val_t", "_ZdlPv", "_ZdlPvm" }) {
		Dl_info info;
		void *sym = dlsym(RTLD_DEFAULT, name);

		require(sym != nullptr && dladdr(sym, &info) != 0 &&
				std::strcmp(info.dli_fname, want) == 0,
			name);
	}
}

template <typename T> T hidden(T value)
{
	__asm__ volatile("" : "+r"(value));
	return value;
}

template <typename T> class Queue
{
      public:
	void put(T value)
	{
		std::lock_guard<std::mutex> guard(lock_);
		items_.push_back(std::move(value));
		ready_.notify_one();
	}

	T take()
	{
		std::unique_lock<std::mutex> guard(lock_);
		ready_.wait(guard, [this] {
			return !items_.empty();
		});
		T value = std::move(items_.front());
		items_.pop_front();
		return value;
	}

      private:
	std::mutex lock_;
	std::condition_variable ready_;
	std::deque<T> items_;
};

struct Parcel {
	std::string name;
	std::vector<std::string> lines;
	std::map<int, std::string> index;
	std::shared_ptr<std::vector<std::uint64_t>> shared;
	std::unordered_map<std::string, std::unique_ptr<std::string>> owned;
};

std::uint64_t digest(const std::string &text)
{
	std::uint64_t h = 1469598103934665603ull;

	for (unsigned char c : text)
		h = (h ^ c) * 1099511628211ull;
	return h;
}

Parcel make_parcel(int id, const std::shared_ptr<std::vector<std::uint64_t>> &shared)
{
	Parcel parcel;

	parcel.name = "parcel number " + std::to_string(id) + std::string(id % 300, '.');
	for (int i = 0; i < 40; i++) {
		parcel.lines.push_back(parcel.name + " line " + std::to_string(i * id));
		parcel.index[i * 7919 % 101] = parcel.lines.back().substr(0, i + 3);
		parcel.owned[std::to_string(i)] = std::make_unique<std::string>(i * 5, 'o');
	}
	parcel.shared = shared;
	return parcel;
}

std::uint64_t weigh(const Parcel &parcel)
{
	std::uint64_t sum = digest(parcel.name) + parcel.shared->size();

	for (const auto &line : parcel.lines)
		sum += digest(line);
	for (const auto &[key, value] : parcel.index)
		sum += key * digest(value);
	for (const auto &[key, value] : parcel.owned)
		sum += digest(key) * (value->size() + 1);
	return sum;
}

// Two makers, a middle pair that copies and changes, two takers that destroy.
void hand_over_threads()
{
	constexpr int each = 800;
	Queue<Parcel> first, second;
	std::atomic<std::uint64_t> sum{ 0 };
	std::vector<std::thread> threads;
	auto shared = std::make_shared<std::vector<std::uint64_t>>(1000, 7);

	for (int t = 0; t < 2; t++) {
		threads.emplace_back([&, t] {
			for (int i = 0; i < each; i++)
				first.put(make_parcel(i * 2 + t, shared));
		});
		threads.emplace_back([&] {
			for (int i = 0; i < each; i++) {
				Parcel parcel = first.take();
				std::vector<std::string> copy = parcel.lines;

				std::reverse(copy.begin(), copy.end());
				parcel.lines.swap(copy);
				parcel.lines.resize(30);
				second.put(std::move(parcel));
			}
		});
		threads.emplace_back([&] {
			for (int i = 0; i < each; i++)
				sum += weigh(second.take());
		});
	}
	for (auto &thread : threads)
		thread.join();
	require(shared.use_count() == 1, "a shared pointer was lost or kept");
	std::cout << "handed over: " << std::hex << sum << std::dec << "\n";
}

// Exceptions with messages of their own, thrown in one thread, rethrown and destroyed in another.
void throw_across_threads()
{
	Queue<std::exception_ptr> errors;
	std::vector<std::thread> threads;
	std::size_t length = 0;
	int caught = 0;

	for (int t = 0; t < 4; t++)
		threads.emplace_back([&errors, t] {
			for (int i = 0; i < 500; i++) {
				try {
					if (i % 3 == 0)
						throw std::runtime_error(std::string(i, 'r') +
									 std::to_string(t));
					if (i % 3 == 1)
						(void)std::vector<int>(3).at(i + 5);
					throw std::string(i * 2, 's');
				} catch (...) {
					errors.put(std::current_exception());
				}
			}
		});
	for (int i = 0; i < 2000; i++) {
		try {
			std::rethrow_exception(errors.take());
		} catch (const std::out_of_range &) {
			caught++;
		} catch (const std::runtime_error &error) {
			length += std::strlen(error.what());
		} catch (const std::string &text) {
			length += text.size();
		}
	}
	for (auto &thread : threads)
		thread.join();
	auto result = std::async(std::launch::async, []() -> int {
		throw std::logic_error("from a future");
	});
	try {
		result.get();
	} catch (const std::logic_error &error) {
		std::cout << "future: " << error.what() << "\n";
	}
	std::cout << "exceptions: " << caught << " out of range, " << length
		  << " bytes of messages\n";
}

int handler_calls;
char *reserve;

// Gives up a reserve first, which does not help for an absurd size, and then throws.
void reserve_then_throw()
{
	handler_calls++;
	if (reserve != nullptr) {
		delete[] reserve;
		reserve = nullptr;
		return;
	}
	throw std::bad_alloc();
}

void remove_itself()
{
	handler_calls++;
	std::set_new_handler(nullptr);
}

template <typename F> bool throws_bad_alloc(F allocate)
{
	try {
		void *p = allocate();
		std::printf("got %p for an absurd size\n", p);
	} catch (const std::bad_alloc &) {
		return true;
	}
	return false;
}

void new_that_fails()
{
	const std::size_t absurd[] = { std::size_t{ 1 } << 62,
				       static_cast<std::size_t>(PTRDIFF_MAX),
				       std::numeric_limits<std::size_t>::max() - 64,
				       std::numeric_limits<std::size_t>::max() };

	for (std::size_t raw : absurd) {
		std::size_t n = hidden(raw);

		require(throws_bad_alloc([n] {
				return ::operator new(n);
			}),
			"operator new of an absurd size");
		require(throws_bad_alloc([n] {
				return ::operator new[](n);
			}),
			"operator new[] of an absurd size");
		require(::operator new(n, std::nothrow) == nullptr, "nothrow new");
		require(::operator new[](n, std::nothrow) == nullptr, "nothrow new[]");
		// libstdc++ 12 rounds a size near the end of all numbers up to none.
		if (n > std::numeric_limits<std::size_t>::max() - 256 &&
		    std::getenv("KMALLOC_EXPECT") == nullptr)
			continue;
		require(throws_bad_alloc([n] {
				return ::operator new (n, std::align_val_t{ 64 });
			}),
			"aligned new");
		require(throws_bad_alloc([n] {
				return ::operator new[](n, std::align_val_t{ 64 });
			}),
			"aligned new[]");
		require(::operator new (n, std::align_val_t{ 128 }, std::nothrow) == nullptr,
			"aligned nothrow new");
		require(::operator new[](n, std::align_val_t{ 128 }, std::nothrow) == nullptr,
			"aligned nothrow new[]");
	}
	std::size_t count = hidden(std::size_t{ 1 } << 61);
	require(throws_bad_alloc([count] {
			return static_cast<void *>(new double[count]);
		}),
		"new[] that overflows");

	std::size_t n = hidden(absurd[0]);
	reserve = new char[1 << 20];
	std::set_new_handler(reserve_then_throw);
	require(throws_bad_alloc([n] {
			return ::operator new(n);
		}),
		"new with a handler");
	require(handler_calls == 2 && reserve == nullptr, "the handler is called until it throws");
	require(::operator new(n, std::nothrow) == nullptr,
		"nothrow new with a handler that throws");
	require(handler_calls == 3, "nothrow new calls the handler too");
	std::set_new_handler(remove_itself);
	require(throws_bad_alloc([n] {
			return ::operator new (n, std::align_val_t{ 64 });
		}),
		"aligned, with handler");
	require(handler_calls == 4 && std::get_new_handler() == nullptr,
		"the handler removed itself");

	bool length_error = false;
	try {
		std::string text;
		text.resize(text.max_size());
	} catch (const std::exception &) {
		length_error = true;
	}
	require(length_error, "a string of all memory");
	std::cout << "new that fails: bad_alloc, nullptr for nothrow, handler called "
		  << handler_calls << " times\n";
}

void every_new_and_delete()
{
	for (std::size_t n = 0; n < 300000; n = n * 2 + 1) {
		for (std::size_t align = 16; align <= 65536; align *= 4) {
			auto a = std::align_val_t{ align };
			void *p[8] = { ::operator new(n),
				       ::operator new[](n),
				       ::operator new(n, std::nothrow),
				       ::operator new[](n, std::nothrow),
				       ::operator new(n, a),
				       ::operator new[](n, a),
				       ::operator new(n, a, std::nothrow),
				       ::operator new[](n, a, std::nothrow) };

			for (int i = 0; i < 8; i++) {
				require(p[i] != nullptr, "operator new gave nullptr");
				require(reinterpret_cast<std::uintptr_t>(p[i]) %
							(i < 4 ? 16 : align) ==
						0,
					"misaligned");
				require(malloc_usable_size(p[i]) >= n, "too small");
				std::memset(p[i], i, n);
				p[i] = hidden(p[i]);
			}
			::operator delete(p[0], n);
			::operator delete[](p[1], n);
			::operator delete(p[2], std::nothrow);
			::operator delete[](p[3]);
			::operator delete(p[4], n, a);
			::operator delete[](p[5], a);
			::operator delete(p[6], a, std::nothrow);
			::operator delete[](p[7], n, a);
		}
	}
	::operator delete(hidden(static_cast<void *>(nullptr)));
	// malloc and new are one allocator.
	std::free(hidden(::operator new(100)));
	::operator delete(hidden(std::malloc(100)));

	struct alignas(256) Wide {
		char bytes[300];
	};
	std::vector<Wide> wides;
	for (int i = 0; i < 200; i++) {
		wides.emplace_back();
		require(reinterpret_cast<std::uintptr_t>(&wides.back()) % 256 == 0,
			"an over-aligned type");
	}
	std::cout << "new and delete: plain, sized, aligned, nothrow, arrays\n";
}

std::atomic<int> destroyed;

struct Diary {
	std::vector<std::string> pages;
	~Diary()
	{
		// Allocates again while the thread ends.
		std::map<int, std::string> last;
		for (int i = 0; i < 50; i++)
			last[i] = std::string(i * 10, 'x');
		destroyed += static_cast<int>(pages.size()) + static_cast<int>(last.size());
	}
};

thread_local Diary diary;
thread_local std::string note = "a note too long for the small string";

void thread_locals()
{
	for (int round = 0; round < 10; round++) {
		std::vector<std::thread> threads;

		for (int t = 0; t < 20; t++)
			threads.emplace_back([t] {
				for (int i = 0; i < 20; i++)
					diary.pages.push_back(note + std::string(t * 10 + i, 'p'));
			});
		for (auto &thread : threads)
			thread.join();
	}
	std::cout << "thread_local destructors: " << destroyed << "\n";
}

void library_mix()
{
	std::ostringstream out;
	std::regex words("([a-z]+)-([0-9]+)");
	std::string text;
	std::multiset<std::string> found;

	for (int i = 0; i < 500; i++)
		text += "word-" + std::to_string(i * 37 % 1000) + (i % 3 ? " " : ", then ");
	for (std::sregex_iterator it(text.begin(), text.end(), words), end; it != end; ++it)
		found.insert((*it)[2].str() + (*it)[1].str());
	for (const auto &word : found)
		out << word << ' ';
	std::function<int(int)> twice = [text](int n) {
		return n * 2 + static_cast<int>(text.size());
	};
	std::cout << "regex: " << found.size() << " words, " << std::hex << digest(out.str())
		  << std::dec << ", " << twice(5) << "\n";
}

} // namespace

int main()
{
	check_library();
	hand_over_threads();
	throw_across_threads();
	new_that_fails();
	every_new_and_delete();
	thread_locals();
	library_mix();
	return 0;
}
