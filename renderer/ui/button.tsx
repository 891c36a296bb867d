import type { ButtonHTMLAttributes } from 'react';

/** A button; `look` says how much it asks for attention. */
export function Button({
  look,
  small,
  className,
  ...rest
}: ButtonHTMLAttributes<HTMLButtonElement> & {
  readonly look?: 'primary' | 'quiet' | 'danger' | undefined;
  readonly small?: boolean;
}) {
  const classes = ['button', look, small && 'small', className].filter(Boolean).join(' ');
  return <button type="button" {...rest} className={classes} />;
}
