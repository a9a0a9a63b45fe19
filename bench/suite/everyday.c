// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Everyday programs: the applets of busybox, started as a shell would, on text that is made here.
 * Each run's output goes to a file whose bytes (of an archive: whose size, as it holds times) are
 * the checksum.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "suite.h"

static int open_at(const char *name, int flags)
{
	char path[256];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", suite_directory, name);
	fd = open(path, flags, 0644);
	if (fd < 0)
		fail(path);
	return fd;
}

/* Runs busybox in the suite's directory. NULL for @in or @out means /dev/null. */
static void busybox(const char *in, const char *out, const char *const *arguments)
{
	pid_t child = fork();
	int status;

	if (child < 0)
		fail("fork");
	if (!child) {
		int fd = in ? open_at(in, O_RDONLY) : open("/dev/null", O_RDONLY);

		dup2(fd, 0);
		fd = out ? open_at(out, O_WRONLY | O_CREAT | O_TRUNC) : open("/dev/null", O_WRONLY);
		dup2(fd, 1);
		if (chdir(suite_directory))
			_exit(98);
		execv(suite_busybox, (char *const *)arguments);
		_exit(99);
	}
	if (waitpid(child, &status, 0) != child || status)
		fail(arguments[1]);
}

#define RUN(in, out, ...) busybox(in, out, (const char *const[]){ "busybox", __VA_ARGS__, NULL })

static u64 file_hash(const char *name)
{
	int fd = open_at(name, O_RDONLY);
	u64 hash = 0;
	u8 data[4096];
	ssize_t got;

	while ((got = read(fd, data, sizeof(data))) > 0)
		hash = mix_bytes(hash, data, got);
	close(fd);
	return hash;
}

/* Lines of words and numbers in the proportions of a log file: about 64 bytes each. */
static void write_text(const char *name, u64 lines, u64 seed)
{
	static const char *const words[] = {
		"the",     "guest", "processor", "waits", "for",    "an",   "interrupt", "of",
		"device",  "queue", "page",      "error", "memory", "read", "write",     "block",
		"network", "frame", "lost",      "found", "timer",  "late", "cache",     "miss",
	};
	FILE *file = fdopen(open_at(name, O_WRONLY | O_CREAT | O_TRUNC), "w");

	for (u64 i = 0; i < lines; i++) {
		int count = 4 + random_next(&seed) % 8;

		fprintf(file, "%u %llu", (u32)(random_next(&seed) >> 40), (unsigned long long)i);
		while (count--)
			fprintf(file, " %s", words[(random_next(&seed) >> 30) % 24]);
		fputc('\n', file);
	}
	fclose(file);
}

static void setup_text(u64 n)
{
	write_text("text", n, 71);
}

static void setup_compressed(u64 n)
{
	setup_text(n);
	RUN("text", "text.gz", "gzip", "-c");
}

static void setup_tree(u64 n)
{
	char name[64];

	RUN(NULL, NULL, "rm", "-rf", "tree");
	RUN(NULL, NULL, "mkdir", "tree");
	for (u64 i = 0; i < n; i++) {
		snprintf(name, sizeof(name), "tree/%llu", (unsigned long long)i);
		write_text(name, 100 + i % 50, i + 1);
	}
}

static u64 run_gzip(u64 n)
{
	RUN("text", "out", "gzip", "-c");
	return file_hash("out");
}

static u64 run_gunzip(u64 n)
{
	for (int i = 0; i < 4; i++)
		RUN("text.gz", "out", "gunzip", "-c");
	return file_hash("out");
}

static u64 run_sha256sum(u64 n)
{
	RUN("text", "out", "sha256sum");
	return file_hash("out");
}

static u64 run_sort(u64 n)
{
	RUN("text", "out", "sort");
	return file_hash("out");
}

static u64 run_awk(u64 n)
{
	RUN("text", "out", "awk",
	    "{ n[$3]++; s[$3] += $1; for (i = 4; i <= NF; i++) w[$i]++ }"
	    " END { for (k in n) t += n[k] * length(k); print t, s[\"guest\"], w[\"page\"] }");
	return file_hash("out");
}

static u64 run_grep(u64 n)
{
	RUN("text", "out", "grep", "-E", "(lost|found) .*page.* [a-m]+e$");
	return file_hash("out");
}

static u64 run_sed(u64 n)
{
	RUN("text", "out", "sed", "-e", "s/\\([a-z]*\\) interrupt/[\\1]/g", "-e", "/timer/d", "-e",
	    "y/abc/ABC/");
	return file_hash("out");
}

static u64 run_tar(u64 n)
{
	struct stat about;
	int fd;

	RUN(NULL, "out", "tar", "-cf", "-", "tree");
	RUN(NULL, NULL, "mkdir", "-p", "copy");
	RUN("out", NULL, "tar", "-xf", "-", "-C", "copy");
	fd = open_at("out", O_RDONLY);
	if (fstat(fd, &about))
		fail("out");
	close(fd);
	return mix(about.st_size, file_hash("copy/tree/7"));
}

static void run_script(u64 n, const char *script)
{
	char count[24];

	snprintf(count, sizeof(count), "%llu", (unsigned long long)n);
	RUN(NULL, "out", "sh", "-c", script, "sh", count);
}

static u64 run_shell(u64 n)
{
	run_script(
		n,
		"i=0; s=0; while [ $i -lt $1 ]; do"
		" case $i in *7) s=$((s + i));; *3*) s=$((s ^ i));; esac;"
		" t=\"word $i\"; t=${t#word }; [ \"$t\" = \"$i\" ] && i=$((i + 1)); done; echo $s");
	return file_hash("out");
}

/* Each turn forks: a pipe of a builtin into a substitution. */
static u64 run_shell_fork(u64 n)
{
	run_script(n,
		   "i=0; s=0; while [ $i -lt $1 ]; do"
		   " x=$(echo $i | { read a; echo $((a * 2)); }); s=$((s + x)); i=$((i + 1)); done;"
		   " echo $s");
	return file_hash("out");
}

const struct row everyday_rows[] = {
	{ "gzip", "everyday", run_gzip, 40000, setup_text },
	{ "gunzip", "everyday", run_gunzip, 80000, setup_compressed },
	{ "sha256sum", "everyday", run_sha256sum, 500000, setup_text },
	{ "sort", "everyday", run_sort, 60000, setup_text },
	{ "awk", "everyday", run_awk, 40000, setup_text },
	{ "grep", "everyday", run_grep, 60000, setup_text },
	{ "sed", "everyday", run_sed, 30000, setup_text },
	{ "tar", "everyday", run_tar, 1000, setup_tree },
	{ "shell", "everyday", run_shell, 40000 },
	{ "shell-fork", "everyday", run_shell_fork, 40 },
	{},
};
