/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Reading XML that a stranger may have written. A document type is where entities, and with them
 * files, network and unbounded growth would come in: the parser is stopped at its first byte.
 */
#include "domain/message.h"
#include "domain/xml.h"

#include <libxml/parser.h>
#include <libxml/parserInternals.h>
#include <string.h>

static void stop_at_doctype(void *context, const xmlChar *name, const xmlChar *external,
			    const xmlChar *system)
{
	xmlParserCtxt *parser = context;

	*(bool *)parser->_private = true;
	xmlStopParser(parser);
}

static void ignore_message(void *context, const xmlError *error)
{
}

/* Bytes that do not fit their encoding are complained about here, whatever the parser's own
 * handlers are, and by default on standard error. */
static void ignore_text(void *context, const char *text, ...)
{
}

static void set_error(GError **error, xmlParserCtxt *parser, const char *file)
{
	const xmlError *last = xmlCtxtGetLastError(parser);
	char *message = g_strdup(last && last->message ? last->message : "no root element");

	message = domain_message_text(g_strchomp(message));
	g_set_error(error, DOMAIN_ERROR, DOMAIN_ERROR_XML,
		    "%s:%d: not well-formed XML: %s; correct it there or just before", file,
		    last ? last->line : 1, message);
	g_free(message);
}

xmlDoc *xml_read(const char *text, size_t length, const char *file, GError **error)
{
	const int options =
		XML_PARSE_NONET | XML_PARSE_NOENT | XML_PARSE_NOCDATA | XML_PARSE_BIG_LINES;
	bool doctype = false;
	xmlGenericErrorFunc old = xmlGenericError;
	void *old_context = xmlGenericErrorContext;
	xmlParserCtxt *parser;
	xmlDoc *doc;

	if (length > XML_BYTES_MAX) {
		g_set_error(error, DOMAIN_ERROR, DOMAIN_ERROR_XML,
			    "%s: %zu bytes of XML are more than the %u that are read", file, length,
			    XML_BYTES_MAX);
		return NULL;
	}
	parser = xmlNewParserCtxt();
	parser->_private = &doctype;
	parser->sax->internalSubset = stop_at_doctype;
	parser->sax->serror = (xmlStructuredErrorFunc)(void (*)(void))ignore_message;
	xmlSetGenericErrorFunc(NULL, ignore_text); /* of this thread */
	doc = xmlCtxtReadMemory(parser, text, length, NULL, NULL, options);
	xmlSetGenericErrorFunc(old_context, old);
	if (doctype) {
		g_set_error(error, DOMAIN_ERROR, DOMAIN_ERROR_XML,
			    "%s: a document type (<!DOCTYPE>) is not accepted; remove it", file);
	} else if (!doc) {
		set_error(error, parser, file);
	}
	xmlFreeParserCtxt(parser);
	if (doctype && doc) {
		xmlFreeDoc(doc);
		doc = NULL;
	}
	return doc;
}
