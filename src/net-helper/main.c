/* SPDX-License-Identifier: GPL-2.0-or-later */
/* lodge-net: options, start, readiness. See helper.h. */
#include "net-helper/helper.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define EXIT_USAGE 2

static const char usage[] =
	"Usage: lodge-net --fd NUMBER [--forward PROTO,[ADDRESS],FIRST-LAST,TO]...\n"
	"       lodge-net --help | --version\n"
	"\n"
	"Gives the guest behind socket NUMBER a user network. Started by lodge and lodged. Says\n"
	"'ready' on standard output once its port forwards are bound, and ends when the guest's "
	"end\n"
	"of the socket closes.\n";

static int fail(GError *error)
{
	fprintf(stderr, "lodge-net: %s\n", error->message);
	g_error_free(error);
	return EXIT_FAILURE;
}

static bool open_forwards(struct helper *helper, int argc, char **argv, GError **error)
{
	for (int i = 1; i + 1 < argc; i++)
		if (!strcmp(argv[i], "--forward") && !stack_forward(helper, argv[++i], error))
			return false;
	return true;
}

/* The socket's number, or -1 when the words are not as usage says. */
static int parse(int argc, char **argv)
{
	int fd = -1;

	for (int i = 1; i < argc; i += 2) {
		if (i + 1 == argc)
			return -1;
		if (!strcmp(argv[i], "--fd"))
			fd = atoi(argv[i + 1]);
		else if (strcmp(argv[i], "--forward"))
			return -1;
	}
	return fd;
}

static int run(int fd, int argc, char **argv)
{
	struct helper helper = { .fd = fd };
	GError *error = NULL;

	signal(SIGPIPE, SIG_IGN);
	if (!stack_open(&helper, &error) || !open_forwards(&helper, argc, argv, &error) ||
	    !confine(&error))
		return fail(error);
	printf("ready\n");
	fclose(stdout);
	loop_run(&helper);
	stack_close(&helper);
	return EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
	int fd = parse(argc, argv);

	if (argc == 2 && !strcmp(argv[1], "--help")) {
		fputs(usage, stdout);
		return EXIT_SUCCESS;
	}
	if (argc == 2 && !strcmp(argv[1], "--version")) {
		printf("lodge-net " LODGE_VERSION " (libslirp %s)\n", slirp_version_string());
		return EXIT_SUCCESS;
	}
	if (fd < 0) {
		fputs(usage, stderr);
		return EXIT_USAGE;
	}
	return run(fd, argc, argv);
}
