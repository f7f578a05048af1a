// A start that cannot go on until somebody changes something: a setting, a file, a right. Its message is a whole sentence
// for the operator, who is shown nothing else.

export class StartError extends Error {
  override readonly name: string = 'StartError';
}
