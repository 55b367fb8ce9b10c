double hypotenuse(double a, double b);
const char *word(int count, char **words);
