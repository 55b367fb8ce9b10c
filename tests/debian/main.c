#include <stdio.h>

#include "greet.h"

int main(int argc, char **argv) {
    printf("Hello, %s! The hypotenuse of 3 and 4 is %.1f.\n", word(argc, argv), hypotenuse(3, 4));
    return 0;
}
