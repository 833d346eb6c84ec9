/* The lines in which a word stands, or nearly: with at most so many letters wrong, missing or too many.

   shoal run examples/wasm/agrep.wasm --input LINK_OR_PATH --arg word=Wroclaw --arg errors=2 --out found

   --word=TEXT    1 to 64 bytes; a letter beyond ASCII is several
   --errors=N     bytes changed, missing or inserted, fewer than TEXT has; 1 unless told
   --count=yes    how many lines, instead of the lines

   A WASI command and any other C program alike: standard input to standard output, words about it to standard error,
   0 when all went well, found or not. Whatever the input, it takes the memory of two buffers.
   `make` builds it; README.md says with what. */

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BUFFER_BYTES = 64 * 1024, MAX_WORD_BYTES = 64, MAX_DIGITS = 9 };

struct options {
    const char *word;
    unsigned long errors, partition, partitions;
    bool count;
};

/* Myers, "A fast bit-vector algorithm for approximate string matching based on dynamic programming" (1999): a column of
   the table of edit distances in two machine words, of which bit i says whether row i+1 is one more or one less than
   row i. `distance` is the last row: how far the word is from the best text that ends here. */
struct column {
    uint64_t more, less;
    unsigned long distance;
};

static uint64_t rows_of[256]; /* for each byte, where in the word it stands */
static size_t word_bytes;

static struct column first_column(void) {
    return (struct column){.more = ~UINT64_C(0), .less = 0, .distance = word_bytes};
}

static struct column next_column(struct column at, unsigned char byte) {
    uint64_t last = UINT64_C(1) << (word_bytes - 1);
    uint64_t equal = rows_of[byte];
    uint64_t vertical = equal | at.less;
    uint64_t horizontal = (((equal & at.more) + at.more) ^ at.more) | equal;
    uint64_t more = at.less | ~(horizontal | at.more);
    uint64_t less = at.more & horizontal;
    if (more & last)
        at.distance++;
    else if (less & last)
        at.distance--;
    more <<= 1; /* a zero comes in: the word may begin anywhere */
    less <<= 1;
    return (struct column){less | ~(vertical | more), more & vertical, at.distance};
}

static void fail(const char *what, const char *which) {
    fprintf(stderr, "agrep: %s%s\n", what, which);
    exit(2);
}

static unsigned long number(const char *text, const char *option) {
    size_t digits = strspn(text, "0123456789");
    if (digits == 0 || digits > MAX_DIGITS || text[digits] != '\0')
        fail("not a number: ", option);
    return strtoul(text, NULL, 10);
}

static const char *value_of(const char *argument, const char *name) {
    size_t length = strlen(name);
    return strncmp(argument, name, length) == 0 ? argument + length : NULL;
}

static struct options read_options(int count, char **arguments) {
    struct options found = {.errors = 1, .partitions = 1};
    for (int i = 1; i < count; i++) {
        const char *argument = arguments[i], *value;
        if ((value = value_of(argument, "--word=")))
            found.word = value;
        else if ((value = value_of(argument, "--errors=")))
            found.errors = number(value, argument);
        else if ((value = value_of(argument, "--count="))) {
            found.count = strcmp(value, "yes") == 0;
            if (!found.count && strcmp(value, "no") != 0)
                fail("neither yes nor no: ", argument);
        } else if ((value = value_of(argument, "--partition=")))
            found.partition = number(value, argument);
        else if ((value = value_of(argument, "--partitions=")))
            found.partitions = number(value, argument);
        else
            fail("unknown: ", argument);
    }
    if (found.word == NULL)
        fail("--word=TEXT is missing", "");
    word_bytes = strlen(found.word);
    if (word_bytes == 0 || word_bytes > MAX_WORD_BYTES || strchr(found.word, '\n'))
        fail("--word is 1 to 64 bytes of one line", "");
    if (found.errors >= word_bytes)
        fail("with as many --errors as the word has bytes, every line is found", "");
    if (found.partition >= found.partitions)
        fail("--partition is not one of --partitions", "");
    return found;
}

/* A line of any length may come in pieces. Of one that is longer than this, the beginning is kept. */
static unsigned char line[BUFFER_BYTES];
static size_t kept;
static unsigned long lines, found_lines;

static void keep(const unsigned char *piece, size_t count) {
    size_t room = sizeof line - kept;
    if (count > room)
        count = room;
    memcpy(line + kept, piece, count);
    kept += count;
}

static void end_line(const struct options *wanted, bool is_found) {
    lines++;
    if (is_found) {
        found_lines++;
        if (!wanted->count) {
            fwrite(line, 1, kept, stdout); /* what fails shows in ferror at the end */
            putchar('\n');
        }
    }
    kept = 0;
}

static void search(const struct options *wanted) {
    static unsigned char buffer[BUFFER_BYTES];
    struct column column = first_column();
    bool is_found = false, is_begun = false;
    ssize_t count;
    while ((count = read(STDIN_FILENO, buffer, sizeof buffer)) > 0) {
        const unsigned char *end = buffer + count;
        for (const unsigned char *at = buffer; at < end;) {
            const unsigned char *stop = memchr(at, '\n', (size_t)(end - at));
            const unsigned char *piece_end = stop ? stop : end;
            for (const unsigned char *byte = at; byte < piece_end && !is_found; byte++) {
                column = next_column(column, *byte);
                is_found = column.distance <= wanted->errors;
            }
            keep(at, (size_t)(piece_end - at));
            is_begun = stop == NULL;
            if (stop) {
                end_line(wanted, is_found);
                column = first_column();
                is_found = false;
            }
            at = piece_end + (stop != NULL);
        }
    }
    if (count < 0)
        fail("cannot read: ", strerror(errno));
    if (is_begun) /* the last line of a file may lack its end */
        end_line(wanted, is_found);
}

int main(int count, char **arguments) {
    struct options wanted = read_options(count, arguments);
    for (size_t i = 0; i < word_bytes; i++)
        rows_of[(unsigned char)wanted.word[i]] |= UINT64_C(1) << i;
    search(&wanted);
    if (wanted.count)
        printf("%lu\n", found_lines);
    if (fflush(stdout) != 0 || ferror(stdout))
        fail("cannot write", "");
    fprintf(stderr, "part %lu of %lu: %lu of %lu lines\n", wanted.partition, wanted.partitions, found_lines, lines);
    return 0;
}
