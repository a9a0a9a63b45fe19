/* SPDX-License-Identifier: GPL-2.0-or-later */
/* lodge-img: the words of its command line. See img.h. */
#include "img/img.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define EXIT_USAGE 2

static const char usage[] =
	"Usage: lodge-img info [--json] FILE...\n"
	"       lodge-img info [--json] --fd NUMBER...\n"
	"       lodge-img --help | --version\n"
	"\n"
	"Says what a disk image is: its format (raw, qcow2, qcow, qed, vmdk, vdi, vpc, vhdx, "
	"luks,\n"
	"iso), the size of the disk in it, the files that it names. With --fd it is open as that\n"
	"descriptor. Each image is read by a process of its own that can do nothing else.\n";

struct words {
	bool json;
	int fds[IMAGES_MAX];
	const char *names[IMAGES_MAX];
	unsigned count;
};

/* "7", and a descriptor that is open. */
static int descriptor(const char *text)
{
	char *end;
	unsigned long number = strtoul(text, &end, 10);

	return *text && !*end && number <= G_MAXINT && fcntl(number, F_GETFD) >= 0 ? (int)number
										   : -1;
}

/* Without waiting for whoever writes to a pipe; a device's own ideas are not asked for. */
static int open_file(const char *name)
{
	int fd = open(name, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

	if (fd < 0)
		fprintf(stderr, "lodge-img: cannot open %s: %s\n", name, g_strerror(errno));
	return fd;
}

/* 0, or the status to end with. */
static int add(struct words *words, int fd, const char *name)
{
	if (words->count == IMAGES_MAX) {
		fprintf(stderr, "lodge-img: no more than %d images at once\n", IMAGES_MAX);
		return EXIT_USAGE;
	}
	if (fd < 0)
		return EXIT_FAILURE;
	words->fds[words->count] = fd;
	words->names[words->count++] = name;
	return 0;
}

static int parse(struct words *words, int argc, char **argv)
{
	bool only_files = false;
	int status = 0;

	for (int i = 2; i < argc && !status; i++) {
		if (!only_files && !strcmp(argv[i], "--")) {
			only_files = true;
		} else if (!only_files && !strcmp(argv[i], "--json")) {
			words->json = true;
		} else if (!only_files && !strcmp(argv[i], "--fd")) {
			int fd = i + 1 < argc ? descriptor(argv[i + 1]) : -1;

			i++;
			if (fd < 0) {
				fprintf(stderr,
					"lodge-img: --fd takes the number of an open file\n");
				return EXIT_USAGE;
			}
			status = add(words, fd, NULL);
		} else if (!only_files && *argv[i] == '-') {
			fprintf(stderr, "lodge-img: what is '%s'? See lodge-img --help\n", argv[i]);
			return EXIT_USAGE;
		} else {
			status = add(words, open_file(argv[i]), argv[i]);
		}
	}
	return status;
}

static int info(int argc, char **argv)
{
	struct words words = { 0 };
	int status = parse(&words, argc, argv);

	if (status)
		return status;
	if (!words.count) {
		fputs(usage, stderr);
		return EXIT_USAGE;
	}
	for (unsigned i = 0; i < words.count; i++) {
		if (words.count > 1 && !words.json)
			printf("%s%s\n", i ? "\n" : "", words.names[i] ? words.names[i] : "-");
		if (info_image(words.fds[i], words.names[i], words.json))
			status = EXIT_FAILURE;
	}
	return status;
}

int main(int argc, char **argv)
{
	if (argc >= 2 && !strcmp(argv[1], "info") && !(argc == 3 && !strcmp(argv[2], "--help")))
		return info(argc, argv);
	if (argc >= 2 && !strcmp(argv[argc - 1], "--help")) {
		fputs(usage, stdout);
		return EXIT_SUCCESS;
	}
	if (argc == 2 && !strcmp(argv[1], "--version")) {
		puts("lodge-img " LODGE_VERSION);
		return EXIT_SUCCESS;
	}
	fputs(usage, stderr);
	return EXIT_USAGE;
}
