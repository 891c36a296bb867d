import { useEffect, useState } from 'react';
import { Button } from './button.tsx';

/** Copies text and says so for two seconds; without clipboard access it says that instead. */
export function CopyButton({ label, text }: { readonly label: string; readonly text: () => string }) {
  const [result, setResult] = useState<string>();
  useEffect(() => {
    if (result === undefined) return undefined;
    const timer = setTimeout(() => setResult(undefined), 2000);
    return () => clearTimeout(timer);
  }, [result]);
  const copy = () => {
    navigator.clipboard.writeText(text()).then(
      () => setResult('Copied'),
      () => setResult('The browser refused the clipboard'),
    );
  };
  return (
    <Button small onClick={copy}>
      <span aria-live="polite">{result ?? label}</span>
    </Button>
  );
}
