/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Plans: parsed, and what parses is built into a machine on an engine that executes nothing. The
 * descriptors a plan names are exchanged for harmless ones before that.
 */
#include "fuzz.h"
#include "testvm.h"
#include "vmm/assemble.h"
#include "vmm/plan.h"

#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

const size_t fuzz_bytes_max = 16 * KIB;
const bool fuzz_text = true;

#define MEMORY_MAX (1ull << 36)

bool fuzz_seed(unsigned index, GByteArray *seed)
{
	static const char *const folders[] = { "tests/fuzz/corpus/plan", NULL };

	return fuzz_seed_file(folders, index, seed);
}

struct descriptors {
	int other_ends[PLAN_ITEMS_MAX];
	unsigned count;
};

static int new_disk(void)
{
	int fd = memfd_create("disk", MFD_CLOEXEC);

	FUZZ_CHECK(fd >= 0 && ftruncate(fd, MIB) == 0);
	return fd;
}

static int new_net(struct descriptors *d)
{
	int pair[2];

	FUZZ_CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) == 0);
	d->other_ends[d->count++] = pair[1];
	return pair[0];
}

static void exchange(struct plan_backend *b, struct descriptors *d)
{
	if (b->fd < 0)
		return;
	b->fd = !strcmp(b->kind, "net") ? new_net(d) : new_disk();
}

/* Consoles would read and write descriptors at times of their own. */
static bool has_live_console(const struct plan *plan)
{
	for (unsigned i = 0; i < plan->backend_count; i++)
		if (!strcmp(plan->backends[i].kind, "console") &&
		    strcmp(plan->backends[i].driver, "null"))
			return true;
	return false;
}

/* What assembly did not take over is still ours to close. */
static void build(struct plan *plan)
{
	struct descriptors d = { .count = 0 };
	GError *error = NULL;
	struct assembly *a;

	for (unsigned i = 0; i < plan->backend_count; i++)
		exchange(&plan->backends[i], &d);
	a = assemble(plan, &fake_accel, NULL, &error);
	FUZZ_CHECK(!a == !!error);
	FUZZ_CHECK(a || g_utf8_validate(error->message, -1, NULL));
	assembly_free(a);
	g_clear_error(&error);
	while (d.count)
		close(d.other_ends[--d.count]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	GError *error = NULL;
	struct plan *plan = plan_parse((const char *)data, size, &error);

	FUZZ_CHECK(!plan == !!error);
	g_clear_error(&error);
	if (plan && plan->memory_bytes <= MEMORY_MAX && !has_live_console(plan))
		build(plan);
	plan_free(plan);
	return 0;
}
