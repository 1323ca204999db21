/* SPDX-License-Identifier: MIT */
/*
 * export_perfetto.c - `kmem export --perfetto`: a trace of Perfetto (perfetto.proto beside this
 * file), by protobuf-c.
 *
 * As heapprofd, Perfetto's own heap profiler, would have written it: at the end of the recording a
 * dump of what each stack has allocated and freed, which the viewer shows as a flame graph, of what
 * is left or of all, bytes or objects. Besides, the curves of bytes and objects as counters, and a
 * mark at the peak.
 *
 * Packets, in the file's order: 1. clocks, since the dump's time is of another clock than the
 * packets'; 2. tracks; 3. the curves; 4. the dump, with the names, files, frames and stacks that it
 * needs. Time begins at START_NS, as 0 is "not set" for some readers. The file is written packet by
 * packet: it is a Trace whose only field repeats.
 */
#include "export.h"

#include "say.h"

#include "perfetto.pb-c.h"

#include <stdlib.h>
#include <string.h>

#define START_NS 1000000000UL
#define SEQUENCE 1U
#define FORGET_INTERNED 1U
#define NEEDS_INTERNED 2U
#define CLOCK_IS_REALTIME 1U
#define CLOCK_IS_MONOTONIC_COARSE 4U
#define CLOCK_IS_BOOTTIME 6U
#define UNIT_IS_COUNT 2
#define UNIT_IS_BYTES 3
#define EVENT_IS_INSTANT 3
#define EVENT_IS_COUNTER 4

enum track { TRACK_PROCESS = 1, TRACK_BYTES, TRACK_OBJECTS };

typedef Perfetto__Protos__TracePacket packet_t;
typedef Perfetto__Protos__InternedData interned_t;
typedef Perfetto__Protos__ProfilePacket__HeapSample heap_sample_t;

/* Set an optional field; `message` is a plain variable, or a field of one. */
#define SET(message, field, value) ((message)->has_##field = true, (message)->field = (value))

static packet_t *new_packet(void)
{
	packet_t *packet = EXPORT_NEW(packet_t, perfetto__protos__trace_packet__init);

	SET(packet, trusted_packet_sequence_id, SEQUENCE);
	return packet;
}

/* Write a packet, and free it. */
static void write_packet(const struct export *export, packet_t *packet)
{
	Perfetto__Protos__Trace trace = PERFETTO__PROTOS__TRACE__INIT;
	size_t size;
	void *data;

	trace.n_packet = 1;
	trace.packet = &packet;
	size = perfetto__protos__trace__get_packed_size(&trace);
	data = xmalloc(size);
	perfetto__protos__trace__pack(&trace, data);
	fwrite(data, 1, size, export->out);
	free(data);
	perfetto__protos__trace_packet__free_unpacked(packet, NULL);
}

static void write_clocks(const struct export *export)
{
	const struct {
		unsigned id;
		uint64_t ns;
	} clocks[] = { { CLOCK_IS_BOOTTIME, START_NS },
		       { CLOCK_IS_MONOTONIC_COARSE, START_NS },
		       { CLOCK_IS_REALTIME, (uint64_t)export_time(export) * 1000000000 } };
	packet_t *packet = new_packet();

	packet->clock_snapshot =
		EXPORT_NEW(Perfetto__Protos__ClockSnapshot, perfetto__protos__clock_snapshot__init);
	for (size_t i = 0; i < sizeof(clocks) / sizeof(*clocks) && clocks[i].ns; i++) {
		Perfetto__Protos__ClockSnapshot__Clock *clock =
			EXPORT_NEW(Perfetto__Protos__ClockSnapshot__Clock,
				   perfetto__protos__clock_snapshot__clock__init);

		SET(clock, clock_id, clocks[i].id);
		SET(clock, timestamp, clocks[i].ns);
		EXPORT_PUSH(packet->clock_snapshot->clocks, packet->clock_snapshot->n_clocks,
			    clock);
	}
	SET(packet, timestamp, START_NS);
	SET(packet, sequence_flags, FORGET_INTERNED);
	write_packet(export, packet);
}

static Perfetto__Protos__TrackDescriptor *new_track(packet_t *packet, enum track track)
{
	packet->track_descriptor = EXPORT_NEW(Perfetto__Protos__TrackDescriptor,
					      perfetto__protos__track_descriptor__init);
	SET(packet->track_descriptor, uuid, track);
	return packet->track_descriptor;
}

static void write_process(const struct export *export)
{
	packet_t *packet = new_packet();
	Perfetto__Protos__TrackDescriptor *track = new_track(packet, TRACK_PROCESS);

	track->process = EXPORT_NEW(Perfetto__Protos__ProcessDescriptor,
				    perfetto__protos__process_descriptor__init);
	SET(track->process, pid, export_pid(export));
	track->process->process_name = utf8_copy(export_command(export));
	EXPORT_PUSH(track->process->cmdline, track->process->n_cmdline,
		    utf8_copy(export_command(export)));
	write_packet(export, packet);
}

static void write_counter_track(const struct export *export, enum track number, const char *name,
				int unit)
{
	packet_t *packet = new_packet();
	Perfetto__Protos__TrackDescriptor *track = new_track(packet, number);

	track->name = xstrdup(name);
	SET(track, parent_uuid, TRACK_PROCESS);
	track->counter = EXPORT_NEW(Perfetto__Protos__CounterDescriptor,
				    perfetto__protos__counter_descriptor__init);
	SET(track->counter, unit, unit);
	write_packet(export, packet);
}

static Perfetto__Protos__TrackEvent *new_event(packet_t *packet, uint64_t ns, enum track track,
					       int type)
{
	SET(packet, timestamp, START_NS + ns);
	packet->track_event =
		EXPORT_NEW(Perfetto__Protos__TrackEvent, perfetto__protos__track_event__init);
	SET(packet->track_event, track_uuid, track);
	SET(packet->track_event, type, type);
	return packet->track_event;
}

static void write_counter(const struct export *export, uint64_t ns, enum track track, double value)
{
	packet_t *packet = new_packet();
	Perfetto__Protos__TrackEvent *event = new_event(packet, ns, track, EVENT_IS_COUNTER);

	SET(event, counter_value, export_round(value));
	write_packet(export, packet);
}

static void write_curves(const struct export *export)
{
	struct point points[MODEL_POINTS + 1];
	size_t count = export_points(export, points);
	packet_t *packet = new_packet();
	Perfetto__Protos__TrackEvent *peak;

	for (size_t i = 0; i < count; i++) {
		write_counter(export, points[i].ns, TRACK_BYTES, points[i].bytes);
		write_counter(export, points[i].ns, TRACK_OBJECTS, points[i].objects);
	}
	peak = new_event(packet, export->view.model.peak_ns, TRACK_PROCESS, EVENT_IS_INSTANT);
	peak->name = xstrdup("peak");
	EXPORT_PUSH(peak->categories, peak->n_categories, xstrdup("heap"));
	write_packet(export, packet);
}

static Perfetto__Protos__InternedString *new_string(uint64_t iid, const char *text, size_t size)
{
	Perfetto__Protos__InternedString *string =
		EXPORT_NEW(Perfetto__Protos__InternedString,
			   perfetto__protos__interned_string__init);

	SET(string, iid, iid);
	string->has_str = true;
	string->str.len = size;
	string->str.data = xmalloc(size);
	memcpy(string->str.data, text, size);
	return string;
}

/* Build-ids are bytes here; the module has them in hexadecimal. */
static uint64_t add_build_id(interned_t *interned, const struct module *module)
{
	char bytes[sizeof(module->build_id) / 2];
	size_t size = 0;
	unsigned byte;

	while (sscanf(module->build_id + size * 2, "%2x", &byte) == 1)
		bytes[size++] = (char)byte;
	if (!size)
		return 0;
	EXPORT_PUSH(interned->build_ids, interned->n_build_ids,
		    new_string(interned->n_build_ids + 1, bytes, size));
	return interned->n_build_ids;
}

static void add_mapping(interned_t *interned, const struct module *module)
{
	Perfetto__Protos__Mapping *mapping =
		EXPORT_NEW(Perfetto__Protos__Mapping, perfetto__protos__mapping__init);
	uint64_t build_id = add_build_id(interned, module);

	SET(mapping, iid, interned->n_mappings + 1);
	if (build_id)
		SET(mapping, build_id, build_id);
	SET(mapping, start, module->start);
	SET(mapping, end, module->end);
	SET(mapping, start_offset, 0);
	SET(mapping, exact_offset, module->offset);
	EXPORT_PUSH(interned->mapping_paths, interned->n_mapping_paths,
		    new_string(interned->n_mapping_paths + 1, module->path, strlen(module->path)));
	EXPORT_PUSH(mapping->path_string_ids, mapping->n_path_string_ids,
		    interned->n_mapping_paths);
	EXPORT_PUSH(interned->mappings, interned->n_mappings, mapping);
}

/* The first one is for what is in no file: a frame must have one. */
static void add_mappings(const struct export *export, interned_t *interned)
{
	struct module module = { .end = UINT64_MAX, .path = "[unknown]" };
	size_t at = 0;

	add_mapping(interned, &module);
	while (symbols_next_module(export->view.symbols, &at, &module))
		add_mapping(interned, &module);
}

static const Perfetto__Protos__Mapping *mapping_of(const interned_t *interned, uint64_t address)
{
	for (size_t i = 1; i < interned->n_mappings; i++)
		if (address >= interned->mappings[i]->start && address < interned->mappings[i]->end)
			return interned->mappings[i];
	return interned->mappings[0];
}

struct interner {
	interned_t *data;
	struct texts *names, *frames;
};

static uint64_t frame_id(struct interner *interner, uint64_t address, const struct frame *from)
{
	interned_t *data = interner->data;
	const Perfetto__Protos__Mapping *mapping = mapping_of(data, address - 1);
	Perfetto__Protos__Frame *frame;
	char name[1024], key[1100];
	size_t number;

	export_frame_name(from, name, sizeof(name));
	snprintf(key, sizeof(key), "%lx %s", address, name);
	number = texts_number(interner->frames, key);
	if (number < data->n_frames)
		return number + 1;
	frame = EXPORT_NEW(Perfetto__Protos__Frame, perfetto__protos__frame__init);
	SET(frame, iid, number + 1);
	SET(frame, mapping_id, mapping->iid);
	SET(frame, rel_pc, address - 1 - mapping->start + mapping->exact_offset);
	number = texts_number(interner->names, name);
	if (number == data->n_function_names)
		EXPORT_PUSH(data->function_names, data->n_function_names,
			    new_string(number + 1, texts_get(interner->names, number),
				       strlen(texts_get(interner->names, number))));
	SET(frame, function_name_id, number + 1);
	EXPORT_PUSH(data->frames, data->n_frames, frame);
	return frame->iid;
}

static void add_stack(const struct export *export, struct interner *interner,
		      const struct site *site)
{
	Perfetto__Protos__Callstack *stack =
		EXPORT_NEW(Perfetto__Protos__Callstack, perfetto__protos__callstack__init);
	struct frame frames[FRAMES_MAX];
	const uint64_t *addresses;
	size_t nr_addresses = export_stack(export, site, &addresses);

	SET(stack, iid, interner->data->n_callstacks + 1);
	for (size_t i = nr_addresses; i--;) {
		size_t count = symbols_frames(export->view.symbols, addresses[i], frames);

		for (size_t j = count; j--;)
			EXPORT_PUSH(stack->frame_ids, stack->n_frame_ids,
				    frame_id(interner, addresses[i], &frames[j]));
	}
	EXPORT_PUSH(interner->data->callstacks, interner->data->n_callstacks, stack);
}

static heap_sample_t *new_sample(const struct site *site, uint64_t stack)
{
	heap_sample_t *sample =
		EXPORT_NEW(heap_sample_t, perfetto__protos__profile_packet__heap_sample__init);
	int64_t allocated = export_round(site->sum.alloc), count = export_round(site->sum.allocs);

	SET(sample, callstack_id, stack);
	SET(sample, self_allocated, (uint64_t)allocated);
	SET(sample, alloc_count, (uint64_t)count);
	/* so that what is left is what the other formats say, whatever was rounded */
	SET(sample, self_freed, (uint64_t)(allocated - export_round(site->sum.live_bytes)));
	SET(sample, free_count, (uint64_t)(count - export_round(site->sum.live_objects)));
	return sample;
}

static void write_dump(const struct export *export)
{
	struct interner interner = { .names = texts_new(), .frames = texts_new() };
	Perfetto__Protos__ProfilePacket__ProcessHeapSamples *dump =
		EXPORT_NEW(Perfetto__Protos__ProfilePacket__ProcessHeapSamples,
			   perfetto__protos__profile_packet__process_heap_samples__init);
	int64_t mean = export_mean(export);
	packet_t *packet = new_packet();
	uint64_t end = START_NS + export->view.model.end_ns;

	interner.data = EXPORT_NEW(interned_t, perfetto__protos__interned_data__init);
	packet->interned_data = interner.data;
	packet->profile_packet =
		EXPORT_NEW(Perfetto__Protos__ProfilePacket, perfetto__protos__profile_packet__init);
	SET(packet, timestamp, end);
	SET(packet, sequence_flags, NEEDS_INTERNED);
	SET(packet->profile_packet, index, 0);
	SET(dump, pid, (uint64_t)export_pid(export));
	SET(dump, timestamp, end);
	SET(dump, sampling_interval_bytes, mean ? (uint64_t)mean : 1);
	dump->heap_name = xstrdup("libkmalloc");
	add_mappings(export, interner.data);
	for (size_t i = 0; i < export->nr_sites; i++) {
		add_stack(export, &interner, export->site[i]);
		EXPORT_PUSH(dump->samples, dump->n_samples, new_sample(export->site[i], i + 1));
	}
	EXPORT_PUSH(packet->profile_packet->process_dumps, packet->profile_packet->n_process_dumps,
		    dump);
	write_packet(export, packet);
	texts_free(interner.names);
	texts_free(interner.frames);
}

bool export_perfetto(struct export *export)
{
	write_clocks(export);
	write_process(export);
	write_counter_track(export, TRACK_BYTES, "heap bytes", UNIT_IS_BYTES);
	write_counter_track(export, TRACK_OBJECTS, "heap objects", UNIT_IS_COUNT);
	write_curves(export);
	write_dump(export);
	return true;
}
