#include "greet.h"

const char *word(int count, char **words) {
    return count > 1 ? words[1] : "nobody";
}
