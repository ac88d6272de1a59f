# Reads SMT-LIB from standard input, hands each command to libcvc5, and prints what it answers.
# The Python package `cvc5` holds the library and no program; this is the program.
import sys

# A file `cvc5.py` in the working folder is not the solver.
sys.path = [folder for folder in sys.path if folder]

import cvc5

LIMIT = next((part.split("=", 1)[1] for part in sys.argv[1:] if part.startswith("--tlimit-per=")), None)


class Session:
    """One solver with its symbols; `(reset)` begins another."""

    def __init__(self):
        self.terms = cvc5.TermManager()
        self.solver = cvc5.Solver(self.terms)
        if LIMIT:
            self.solver.setOption("tlimit-per", LIMIT)
        self.symbols = cvc5.SymbolManager(self.terms)

    def run(self, text):
        """Runs the commands in `text`; False when the last of them was `(exit)`."""
        parser = cvc5.InputParser(self.solver, self.symbols)
        parser.setStringInput(cvc5.InputLanguage.SMT_LIB_2_6, text, "stdin")
        while True:
            try:
                command = parser.nextCommand()
                if command.isNull():
                    return True
                said = command.invoke(self.solver, self.symbols)
            except Exception as error:  # Whatever it is, the caller must read that it failed.
                say('(error "%s")' % " ".join(str(error).replace('"', "'").split()))
                return True
            if said:
                say(said.rstrip("\n"))
            if command.getCommandName() == "exit":
                return False


def say(line):
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def commands(stream):
    """Texts whose parentheses are closed, as they come."""
    held, depth, quoted = [], 0, None
    for line in iter(stream.readline, ""):
        held.append(line)
        for letter in line:
            if quoted == ";":
                quoted = None if letter == "\n" else quoted
            elif quoted:
                quoted = None if letter == quoted else quoted
            elif letter in '"|;':
                quoted = letter
            else:
                depth += {"(": 1, ")": -1}.get(letter, 0)
        if depth == 0 and quoted is None:
            text = "".join(held)
            held = []
            if text.strip():
                yield text


session = Session()
for text in commands(sys.stdin):
    if text.strip() == "(reset)":
        session = Session()
    elif not session.run(text):
        break
